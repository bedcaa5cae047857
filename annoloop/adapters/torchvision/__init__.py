"""The trainer `torchvision`: Faster R-CNN, RetinaNet, FCOS, SSD and SSDlite (BSD-3-Clause)."""
