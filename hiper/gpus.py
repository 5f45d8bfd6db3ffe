"""What common GPUs can do, from their data sheets: dense tensor-core throughput and memory."""

from dataclasses import dataclass

__all__ = ["GPUS", "Gpu", "find_gpu"]


@dataclass(frozen=True, slots=True)
class Gpu:
    """One type of GPU."""

    name: str
    bfloat16_tflops: float
    """Dense peak, 10^12 operations/s."""
    float32_tflops: float
    """Dense peak outside the tensor cores."""
    memory_gib: float
    bandwidth_gb_s: float
    """Of its memory."""


GPUS = (
    Gpu("L4", 121, 30.3, 24, 300),
    Gpu("L40S", 362, 91.6, 48, 864),
    Gpu("A100-40GB", 312, 19.5, 40, 1555),
    Gpu("A100-80GB", 312, 19.5, 80, 2039),
    Gpu("H100", 989, 67, 80, 3350),
    Gpu("H200", 989, 67, 141, 4800),
    Gpu("B200", 2250, 75, 180, 8000),
)


def find_gpu(device_name: str) -> Gpu | None:
    """Return the type a driver's name like `NVIDIA H100 80GB HBM3` stands for; None = not in the table."""
    words = device_name.upper().replace("-", " ").split()
    candidates = [gpu for gpu in GPUS if gpu.name.partition("-")[0] in words]
    sized = [gpu for gpu in candidates if any(word in gpu.name for word in words if word.endswith("GB"))]
    return next(iter(sized or candidates), None)
