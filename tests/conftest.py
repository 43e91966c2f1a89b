"""Puts this folder on the path, so that every test can `from zoo import ...`, and keeps torch to one thread."""

import torch

torch.set_num_threads(1)  # tiny networks: a second thread costs more than it brings, and sums keep one order
