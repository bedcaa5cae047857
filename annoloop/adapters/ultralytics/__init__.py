"""The trainer `ultralytics`: YOLO and RT-DETR, under AGPL-3.0 (docs/trainers.md)."""
