/* What programs that time operations on a GPU share: the queue on a stream of their own, and ends
 * for what fails. Included once a program. */
#ifndef GPU_BENCH_H
#define GPU_BENCH_H

#include "mptune/mptune.h"
#include <cuda_runtime_api.h>
#include <stdio.h>
#include <stdlib.h>

static mpt_queue *queue;
static cudaStream_t stream;
static mpt_error error;

static void check(mpt_status status) {
  if (status == MPT_OK)
    return;
  fprintf(stderr, "error: %s\n", error.message);
  exit(1);
}

static void check_cuda(cudaError_t result) {
  if (result == cudaSuccess)
    return;
  fprintf(stderr, "error: %s\n", cudaGetErrorString(result));
  exit(1);
}

/* Exits 2 without a GPU. */
static struct cudaDeviceProp gpu_open(const char *program) {
  mpt_queue_config config = mpt_queue_config_default();
  struct cudaDeviceProp device;
  config.backend = "cuda";
  if (cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) != cudaSuccess) {
    fprintf(stderr, "error: %s measures a GPU, and none was found\n", program);
    exit(2);
  }
  config.stream = stream;
  config.owns_stream = false;
  check(mpt_queue_open(&config, &queue, &error));
  check_cuda(cudaGetDeviceProperties(&device, 0));
  return device;
}

static void gpu_close(void) {
  check(mpt_queue_synchronize(queue, &error));
  mpt_queue_close(queue);
  check_cuda(cudaStreamDestroy(stream));
}

#endif
