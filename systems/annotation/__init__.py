"""Image annotation with several scales, noisy tags, and the number of labels predicted.

Niu, Lu, Wen, Xiang and Chang, "Multi-modal multi-scale deep learning for large-scale image annotation", TIP 2019.
"""
