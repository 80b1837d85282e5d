#!/usr/bin/python3
"""OpenCV's transparent API: each operation on a UMat (OpenCL) against the same on a Mat (CPU)."""
import hashlib
import sys

import cv2
import numpy as np

cv2.ocl.setUseOpenCL(True)
if not cv2.ocl.haveOpenCL() or not cv2.ocl.useOpenCL():
    sys.exit("OpenCV has no OpenCL device")
print("device:", "present")
rng = np.random.default_rng(4)
grey = rng.integers(0, 255, (120, 160)).astype(np.uint8)  # small: an interpreter runs this too
colour = rng.integers(0, 255, (120, 160, 3)).astype(np.uint8)
real = rng.random((120, 160), dtype=np.float32)
square = rng.random((64, 64), dtype=np.float32)
blobs = cv2.GaussianBlur(grey, (0, 0), 4)  # edges that are few, and not at the thresholds
blobs = cv2.normalize(blobs, None, 0, 255, cv2.NORM_MINMAX)
kernel = np.ones((5, 5), np.uint8)


class Share(float):
    """A tolerance: the share of pixels that may differ, however much."""


warp = np.float32([[0.9, 0.1, 5], [-0.1, 0.9, 7]])

# name, function, inputs, greatest absolute difference; where a pixel may be another one altogether, the share of such pixels
OPERATIONS = [
    ("cvtColor", lambda a: cv2.cvtColor(a, cv2.COLOR_BGR2GRAY), [colour], 1),
    ("GaussianBlur", lambda a: cv2.GaussianBlur(a, (7, 7), 1.5), [grey], 1),
    ("medianBlur", lambda a: cv2.medianBlur(a, 5), [grey], 0),
    ("boxFilter", lambda a: cv2.blur(a, (5, 5)), [real], 1e-4),
    ("bilateralFilter", lambda a: cv2.bilateralFilter(a, 5, 30, 30), [grey], 2),
    ("Sobel", lambda a: cv2.Sobel(a, cv2.CV_32F, 1, 0), [real], 1e-4),
    ("Laplacian", lambda a: cv2.Laplacian(a, cv2.CV_32F), [real], 1e-3),
    ("erode", lambda a: cv2.erode(a, kernel), [grey], 0),
    ("dilate", lambda a: cv2.dilate(a, kernel), [grey], 0),
    ("resize", lambda a: cv2.resize(a, (80, 50)), [grey], 1),
    ("resize up", lambda a: cv2.resize(a, (250, 225), interpolation=cv2.INTER_NEAREST), [grey], 0),
    ("warpAffine", lambda a: cv2.warpAffine(a, warp, (160, 120), flags=cv2.INTER_NEAREST), [grey], Share(0.01)),
    ("add", cv2.add, [real, real], 1e-6),
    ("multiply", cv2.multiply, [real, real], 1e-6),
    ("absdiff", cv2.absdiff, [grey, grey[::-1].copy()], 0),
    ("threshold", lambda a: cv2.threshold(a, 100, 255, cv2.THRESH_BINARY)[1], [grey], 0),
    ("bitwise_xor", cv2.bitwise_xor, [grey, grey[::-1].copy()], 0),
    ("gemm", lambda a, b: cv2.gemm(a, b, 1.0, None, 0.0), [square, square], 1e-2),
    ("transpose", cv2.transpose, [real], 0),
    ("flip", lambda a: cv2.flip(a, 1), [grey], 0),
    ("split and merge", lambda a: cv2.merge(cv2.split(a)), [colour], 0),
    ("normalize", lambda a: cv2.normalize(a, None, 0, 1, cv2.NORM_MINMAX), [real], 1e-4),
    ("dft", lambda a: cv2.dft(a, flags=cv2.DFT_COMPLEX_OUTPUT), [square], 1e-2),
    ("pyrDown", cv2.pyrDown, [grey], 1),
    ("pyrUp", cv2.pyrUp, [grey], 1),
    ("integral", cv2.integral, [grey], 0),
    ("equalizeHist", cv2.equalizeHist, [grey], 1),
    ("Canny", lambda a: cv2.Canny(a, 50, 150), [blobs], Share(0.01)),
    ("LUT", lambda a: cv2.LUT(a, np.arange(255, -1, -1).astype(np.uint8)), [grey], 0),
    ("matchTemplate", lambda a: cv2.matchTemplate(a, real[10:20, 10:20].copy(), cv2.TM_SQDIFF), [real], 0.1),
]

digest = hashlib.sha256()
for name, function, inputs, tolerance in OPERATIONS:
    expected = function(*inputs)
    result = function(*[cv2.UMat(x) for x in inputs])
    got = (result if isinstance(result, np.ndarray) else result.get()) if not isinstance(result, (list, tuple)) else None
    if got is None:
        sys.exit(f"{name}: no result")
    difference = np.abs(got.astype(np.float64) - np.asarray(expected).astype(np.float64))
    worst = float(np.mean(difference > 0) if isinstance(tolerance, Share) else np.max(difference))
    if worst > tolerance:
        sys.exit(f"{name}: differs from the CPU by {worst}, accepted {tolerance}")
    digest.update(np.ascontiguousarray(got).tobytes())
    print(f"{name}: ok")

total = cv2.sumElems(cv2.UMat(grey))[0]
low, high, _, _ = cv2.minMaxLoc(cv2.UMat(grey))
assert total == float(grey.sum()) and (low, high) == (grey.min(), grey.max())
print("sum, minMax: ok")
print("nonzero", cv2.countNonZero(cv2.UMat(grey)))
print("digest", digest.hexdigest())
