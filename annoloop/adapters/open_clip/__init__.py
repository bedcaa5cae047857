"""The embedder `open_clip`: the image half of any CLIP of OpenCLIP (MIT), from a local file."""
