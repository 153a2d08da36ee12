from __future__ import annotations

import platform

import psutil
import pytest

from autocompress.machine import heap


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="no other allocator is asked")
def test_what_is_free_goes_back_to_the_system() -> None:
    held = [bytearray(100_000) for _ in range(2000)]  # below what is given back by itself
    above = bytearray(100_000)  # keeps the heap from shrinking at its end
    del held
    before = psutil.Process().memory_info().rss
    heap.give_back()
    assert psutil.Process().memory_info().rss < before - 100e6
    assert above
