"""Siamese fine-tuning on click-log images: labels given or from clicks, softmax training, then pairs of images.

Feng and Liu, "Fine-Grained Image Recognition from Click-Through Logs Using Deep Siamese Network", MMM 2017.
"""
