"""Attention by torch's plain kernel, the only one with second and forward-mode derivatives."""

from __future__ import annotations

from torch.nn.attention import SDPBackend, sdpa_kernel

from tapetum.switches import Switch

unfused_attention = Switch(lambda: sdpa_kernel(SDPBackend.MATH))
"""Turns fused kernels of attention off inside the block, in the whole process: torch knows no other way."""
