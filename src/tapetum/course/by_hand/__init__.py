"""Toys of the course: filters of nine numbers, the size of a convolution's output, and Grad-CAM of given numbers."""
