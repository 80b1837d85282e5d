#!/usr/bin/python3
"""PyOpenCL over whatever platform the ICD loader offers: arrays, reductions, scans, sorting, images, callbacks; with the
argument "threads", several threads instead, which not every driver survives; with "but-scans", all but reductions, scans and sorting.

Every result is checked against numpy; a digest of all results is printed, so that two runs can be compared byte for byte.
"""
import hashlib
import sys
import threading
import warnings

import numpy as np

warnings.filterwarnings("ignore")
import pyopencl as cl
import pyopencl.array as cl_array
from pyopencl.algorithm import RadixSort, copy_if
from pyopencl.elementwise import ElementwiseKernel
from pyopencl.reduction import ReductionKernel
from pyopencl.scan import GenericScanKernel, InclusiveScanKernel

digest = hashlib.sha256()


def note(name, array, expected=None, exact=True):
    array = np.array(array, order="C")
    if expected is not None:
        same = np.array_equal(array, expected) if exact else np.allclose(array, expected, rtol=1e-4)
        if not same:
            sys.exit(f"{name}: wrong result")
    digest.update(array.tobytes())
    print(f"{name}: ok", flush=True)


def arrays(queue):
    rng = np.random.default_rng(1)
    a, b = rng.random(20_011, dtype=np.float32), rng.random(20_011, dtype=np.float32)
    da, db = cl_array.to_device(queue, a), cl_array.to_device(queue, b)
    note("add", (da + db).get(), a + b)
    note("multiply by scalar", (2 * da).get(), 2 * a)
    note("slice", da[100:5000].get(), a[100:5000])
    note("strided reverse copy", da[:1000].copy().get(), a[:1000])
    note("take", cl_array.take(da, cl_array.to_device(queue, np.arange(0, 1000, 3, dtype=np.int32))).get(), a[:1000:3])
    note("where", cl_array.if_positive(da - np.float32(0.5), da, db).get(), np.where(a > 0.5, a, b))
    kernel = ElementwiseKernel(queue.context, "float x, float *y, float *z", "z[i] = x * y[i] + z[i]", "saxpy")
    kernel(np.float32(3), da, db)
    note("elementwise", db.get(), 3 * a + b, exact=False)
    note("zeros and fill", cl_array.zeros(queue, 1000, np.int64).fill(7).get(), np.full(1000, 7))


def algorithms(queue):
    ctx = queue.context
    n = 16_385
    data = np.random.default_rng(2).integers(0, 1000, n).astype(np.int32)
    dev = cl_array.to_device(queue, data)
    note("sum", cl_array.sum(dev, dtype=np.int64).get(), np.int64(data.sum()))
    note("max", cl_array.max(dev).get(), data.max())
    dot = ReductionKernel(ctx, np.int64, neutral="0", reduce_expr="a+b", map_expr="(long)x[i]*x[i]", arguments="__global int *x")
    note("reduction", dot(dev).get(), (data.astype(np.int64) ** 2).sum())
    out = cl_array.empty_like(dev)
    InclusiveScanKernel(ctx, np.int32, "a+b", neutral="0")(dev, out)
    note("inclusive scan", out.get(), np.cumsum(data, dtype=np.int32))
    scan = GenericScanKernel(ctx, np.int32, arguments="__global int *ary, __global int *out", input_expr="ary[i]",
                             scan_expr="a+b", neutral="0", output_statement="out[i] = prev_item;")
    scan(dev, out)
    note("exclusive scan", out.get(), np.concatenate([[0], np.cumsum(data, dtype=np.int32)[:-1]]).astype(np.int32))
    kept, count, _ = copy_if(dev, "ary[i] > 500")
    note("copy_if", kept.get()[: int(count.get())], data[data > 500])
    sort = RadixSort(ctx, "int *ary", key_expr="ary[i]", sort_arg_names=["ary"], key_dtype=np.int32)
    (ordered,), _ = sort(dev, key_bits=16)
    note("radix sort", ordered.get(), np.sort(data))


def images(queue):
    ctx = queue.context
    if not queue.device.image_support:
        print("images: the device has none")
        return
    pixels = np.random.default_rng(3).integers(0, 255, (60, 100, 4)).astype(np.uint8)
    fmt = cl.ImageFormat(cl.channel_order.RGBA, cl.channel_type.UNSIGNED_INT8)
    source = cl.image_from_array(ctx, pixels, 4, "r", norm_int=False)
    target = cl.Image(ctx, cl.mem_flags.WRITE_ONLY, fmt, shape=(100, 60))
    program = cl.Program(ctx, """
        __constant sampler_t s = CLK_NORMALIZED_COORDS_FALSE | CLK_ADDRESS_CLAMP_TO_EDGE | CLK_FILTER_NEAREST;
        __kernel void flip(__read_only image2d_t a, __write_only image2d_t b) {
            int2 p = (int2)(get_global_id(0), get_global_id(1));
            write_imageui(b, p, read_imageui(a, s, (int2)(99 - p.x, p.y)));
        }""").build()
    program.flip(queue, (100, 60), None, source, target)
    result = np.empty_like(pixels)
    cl.enqueue_copy(queue, result, target, origin=(0, 0), region=(100, 60))
    note("image flip", result, pixels[:, ::-1])


def maps_and_copies(queue):
    ctx = queue.context
    size = 1 << 20
    buffer = cl.Buffer(ctx, cl.mem_flags.READ_WRITE, size)
    mapped, event = cl.enqueue_map_buffer(queue, buffer, cl.map_flags.WRITE, 0, (size // 4,), np.int32)
    mapped[:] = np.arange(size // 4, dtype=np.int32)
    mapped.base.release(queue)
    other = cl.Buffer(ctx, cl.mem_flags.READ_WRITE, size)
    cl.enqueue_copy(queue, other, buffer)
    back = np.empty(size // 4, np.int32)
    cl.enqueue_copy(queue, back, other)
    note("map, copy, read", back, np.arange(size // 4, dtype=np.int32))
    part = buffer.get_sub_region(4096, 4096)
    cl.enqueue_fill_buffer(queue, part, np.int32(-1), 0, 4096)
    cl.enqueue_copy(queue, back, buffer)
    expected = np.arange(size // 4, dtype=np.int32)
    expected[1024:2048] = -1
    note("sub-buffer fill", back, expected)


def events(queue):
    ctx = queue.context
    seen = []
    done = threading.Event()
    gate = cl.UserEvent(ctx)
    buffer = cl.Buffer(ctx, cl.mem_flags.READ_WRITE, 4096)
    event = cl.enqueue_fill_buffer(queue, buffer, np.int32(5), 0, 4096, wait_for=[gate])

    def complete(status):
        seen.append(status)
        done.set()

    event.set_callback(cl.command_execution_status.COMPLETE, complete)
    assert not done.wait(0.05)
    gate.set_status(cl.command_execution_status.COMPLETE)
    event.wait()
    assert done.wait(10), "no callback"
    out = np.empty(1024, np.int32)
    cl.enqueue_copy(queue, out, buffer)
    note("user event and callback", out, np.full(1024, 5, np.int32))


def threads(ctx):
    program = cl.Program(ctx, "__kernel void advance(__global int *p, int k) { p[get_global_id(0)] += k; }").build()
    results, failures = {}, []

    def work(index):
        try:
            queue = cl.CommandQueue(ctx)
            kernel = cl.Kernel(program, "advance")
            data = cl_array.zeros(queue, 1000, np.int32)
            for k in range(200):
                kernel(queue, (1000,), None, data.data, np.int32(k % (index + 2)))
            results[index] = data.get()
        except Exception as error:  # noqa: BLE001 - reported by the main thread
            failures.append(error)

    pool = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for t in pool:
        t.start()
    for t in pool:
        t.join()
    if failures:
        raise failures[0]
    for i in range(6):
        note(f"thread {i}", results[i], np.full(1000, sum(k % (i + 2) for k in range(200)), np.int32))


def queues_in_turn(ctx):
    """On all devices; on one device it has two queues, so that the results are the same with any number."""
    queues = [cl.CommandQueue(ctx, d) for d in (ctx.devices * 2 if len(ctx.devices) == 1 else ctx.devices)]
    program = cl.Program(ctx, "__kernel void twice(__global int *p) { p[get_global_id(0)] *= 2; }").build()
    buffer = cl.Buffer(ctx, cl.mem_flags.READ_WRITE | cl.mem_flags.COPY_HOST_PTR, hostbuf=np.arange(4096, dtype=np.int32))
    event = None
    for k in range(10):
        event = program.twice(queues[k % len(queues)], (4096,), None, buffer, wait_for=[event] if event else None)
        queues[k % len(queues)].flush()  # another queue is to wait for it
    event.wait()
    out = np.empty(4096, np.int32)
    cl.enqueue_copy(queues[0], out, buffer)
    note("queues in turn", out, (np.arange(4096, dtype=np.int32) * 1024).astype(np.int32))


def main():
    platform = cl.get_platforms()[0]
    ctx = cl.Context(platform.get_devices())
    queue = cl.CommandQueue(ctx)
    if sys.argv[1:] == ["threads"]:
        threads(ctx)
    else:
        parts = [arrays, algorithms, images, maps_and_copies, events]
        if sys.argv[1:] == ["but-scans"]:
            parts.remove(algorithms)
        for part in parts:
            part(queue)
        queues_in_turn(ctx)
    print("digest", digest.hexdigest())


main()
