"""Data for image annotation: images with label sets and users' tags, from NUS-WIDE's, COCO's and plain files."""
