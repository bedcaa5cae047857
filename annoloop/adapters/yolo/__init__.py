"""YOLO text labels: Ultralytics' layout with a data.yaml, Darknet's, or folders with a names file.

One .txt file an image, one row a box: class, centre x, centre y, width, height, relative to the
image as it is seen (EXIF orientation applied). Layout: https://docs.ultralytics.com/datasets/detect
"""

from annoloop.adapters.yolo.reader import YoloReader
from annoloop.adapters.yolo.writer import YoloWriter

__all__ = ["YoloReader", "YoloWriter"]
