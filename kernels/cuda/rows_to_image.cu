/* [B*H*W, C] rows to [B, C, H, W] images and back: a transposition for each image, in tiles that
 * pass through shared memory. */
#include "kernels/cuda/array.cuh"

enum { TILE = 32, TILE_ROWS = 8 };

/* from has shape [batch, rows, columns], to [batch, columns, rows]. */
static __global__ void transpose_images(Array<Any> from, Array<Any> to, int64_t batch, int64_t rows,
                                        int64_t columns) {
  __shared__ float tile[TILE][TILE + 1];
  int64_t across = (columns + TILE - 1) / TILE, down = (rows + TILE - 1) / TILE;
  for (int64_t t = blockIdx.x; t < batch * across * down; t += gridDim.x) {
    int64_t matrix = t / (across * down) * rows * columns;
    int64_t row = t / across % down * TILE, column = t % across * TILE;
    __syncthreads();
    for (int i = threadIdx.y; i < TILE; i += TILE_ROWS)
      if (row + i < rows && column + threadIdx.x < columns)
        tile[i][threadIdx.x] = from.get(matrix + (row + i) * columns + column + threadIdx.x);
    __syncthreads();
    for (int i = threadIdx.y; i < TILE; i += TILE_ROWS)
      if (column + i < columns && row + threadIdx.x < rows)
        to.set(matrix + (column + i) * rows + row + threadIdx.x, tile[threadIdx.x][i]);
  }
}

static void transpose(cuda_context *c, mpt_t from, mpt_t to, int64_t batch, int64_t rows,
                      int64_t columns) {
  int64_t tiles = batch * divide_up(rows, TILE) * divide_up(columns, TILE);
  int64_t most = 32 * (int64_t)c->multiprocessors;
  transpose_images<<<(unsigned)(tiles < most ? tiles : most), dim3(TILE, TILE_ROWS), 0,
                     c->stream>>>(array_of<Any>(from), array_of<Any>(to), batch, rows, columns);
}

mpt_status mpt_cuda_rows_to_image(mpt_queue *queue, mpt_t rows, mpt_t image, mpt_error *error) {
  transpose(cuda_of(queue), rows, image, image->shape[0], image->shape[2] * image->shape[3],
            image->shape[1]);
  return CUDA_LAUNCHED("rows_to_image", error);
}

mpt_status mpt_cuda_image_to_rows(mpt_queue *queue, mpt_t image, mpt_t rows, mpt_error *error) {
  transpose(cuda_of(queue), image, rows, image->shape[0], image->shape[1],
            image->shape[2] * image->shape[3]);
  return CUDA_LAUNCHED("image_to_rows", error);
}
