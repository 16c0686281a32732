/* Batch norm, sums, ReLU, 3x3 pools and narrow convolutions of channels-last float tensors, forward and backward, on one
   thread. See kernels.py.

   A tensor (batch, channels, height, width) in this layout is a matrix of batch * height * width rows of c floats. */
#include <math.h>
#include <stdlib.h>
#define WIDEST 2048
#define MOST 3
#define MOST_TAPS 7
#define CHUNK 64
#define FOLDED 64
#define MOST_PIXELS 1024
#define GROUP 256
#define INLINE static inline __attribute__((always_inline))

/* What `statistics` writes for batch norm, each of c floats. */
enum { SCALE, SHIFT, MEAN, INVERSE, VARIANCE, FACTORS };

/* Narrow rows are taken several at a time, until they make a row of FOLDED floats or a little more: how many. */
static long together(long rows, long c) {
    long fold = 1;
    while (c * fold < FOLDED && rows % (2 * fold) == 0) fold *= 2;
    return fold;
}

/* Batch norm of z (rows, c) as z * scale + shift. Sums over CHUNK wide rows are in float, of differences to the first
   row of the chunk, which lies near the mean; chunks are merged in double. gamma and beta may be null.
   The running mean and variance, if there are, take in their `share`, the variance as an estimate of that of all images. */
void statistics(const float *z, long rows, long c, double eps, const float *gamma, const float *beta, double share,
                float *running_mean, float *running_variance, float *factors) {
    long fold = together(rows, c), width = c * fold, wide = rows / fold;
    double means[WIDEST], squares[WIDEST] = {0}; /* of the rows so far, in each of the folds: mean, squared deviations */
    float s[WIDEST], q[WIDEST];
    for (long start = 0; start < wide; start += CHUNK) {
        long count = start + CHUNK < wide ? CHUNK : wide - start;
        const float *first = z + start * width;
        for (long i = 0; i < width; i++) s[i] = q[i] = 0;
        for (long r = 0; r < count; r++) {
            const float *row = first + r * width;
            for (long i = 0; i < width; i++) {
                float d = row[i] - first[i];
                s[i] += d;
                q[i] += d * d;
            }
        }
        for (long i = 0; i < width; i++) {
            double mean = (double)s[i] / count, gap = first[i] + mean - (start ? means[i] : 0);
            squares[i] += q[i] - count * mean * mean;
            if (start) squares[i] += gap * gap * start * count / (start + count);
            means[i] = start ? means[i] + gap * count / (start + count) : gap;
        }
    }
    for (long i = 0; i < c; i++) {
        double mean = 0, variance = 0;
        for (long k = 0; k < fold; k++) mean += means[k * c + i] / fold;
        for (long k = 0; k < fold; k++) {
            double gap = means[k * c + i] - mean;
            variance += (squares[k * c + i] + wide * gap * gap) / rows;
        }
        variance = variance < 0 ? 0 : variance;
        double inverse = 1 / sqrt(variance + eps), factor = (gamma ? gamma[i] : 1.0) * inverse;
        factors[SCALE * c + i] = (float)factor;
        factors[SHIFT * c + i] = (float)((beta ? beta[i] : 0.0) - mean * factor);
        factors[MEAN * c + i] = (float)mean;
        factors[INVERSE * c + i] = (float)inverse;
        factors[VARIANCE * c + i] = (float)variance;
        if (running_mean) {
            double all = variance * rows / (rows > 1 ? rows - 1 : 1);
            running_mean[i] += (float)(share * (mean - running_mean[i]));
            running_variance[i] += (float)(share * (all - running_variance[i]));
        }
    }
}

/* One row after the other of a sum of n + m tensors. `n`, `m`, which outputs there are and often `width` are constants
   where this is used, so that the compiler makes a loop for each. */
INLINE void sum_rows(const int n, const int m, const int to_value, const int to_rect, const long width, long wide,
                     const float *restrict x, const float *restrict y, const float *restrict z,
                     const float *restrict a, const float *restrict b, float cap, float *restrict value,
                     float *restrict rect) {
    for (long r = 0; r < wide; r++)
        for (long i = 0, j = r * width; i < width; i++, j++) {
            float sum = n > 0 ? x[j] * a[i] + b[i] : x[j];
            if (n + m > 1) sum += n > 1 ? y[j] * a[WIDEST + i] : y[j];
            if (n + m > 2) sum += n > 2 ? z[j] * a[2 * WIDEST + i] : z[j];
            if (to_value) value[j] = sum;
            if (to_rect) {
                float above = sum < 0 ? 0 : sum; /* what is not a number stays so */
                rect[j] = above > cap ? cap : above;
            }
        }
}

/* Sum of n tensors z * scale + shift and of m plain ones, at most MOST together, all (rows, c); to value, and held
   between 0 and cap to rect, where these are not null. */
void combine(long n, const float **z, const float **factors, long m, const float **plain, long rows, long c, float cap,
             float *value, float *rect) {
    float a[MOST * WIDEST], b[WIDEST] = {0};
    const float *in[MOST] = {0};
    long fold = together(rows, c), width = c * fold, wide = rows / fold;
    for (long k = 0; k < n; k++) {
        in[k] = z[k];
        for (long i = 0; i < width; i++) {
            a[k * WIDEST + i] = factors[k][SCALE * c + i % c];
            b[i] += factors[k][SHIFT * c + i % c];
        }
    }
    for (long k = 0; k < m; k++) in[n + k] = plain[k];
#define ROWS(n, m, v, r, width) sum_rows(n, m, v, r, width, wide, in[0], in[1], in[2], a, b, cap, value, rect)
#define OUTPUTS(n, m, width)                                                                                           \
    if (value && rect) ROWS(n, m, 1, 1, width);                                                                        \
    else if (value) ROWS(n, m, 1, 0, width);                                                                           \
    else if (rect) ROWS(n, m, 0, 1, width)
#define INPUTS(n, m)                                                                                                   \
    case 4 * n + m:                                                                                                    \
        if (width == FOLDED) { OUTPUTS(n, m, FOLDED); }                                                                \
        else { OUTPUTS(n, m, width); }                                                                                 \
        break
    switch (4 * n + m) {
        INPUTS(0, 1); INPUTS(0, 2); INPUTS(0, 3); INPUTS(1, 0); INPUTS(1, 1); INPUTS(1, 2); INPUTS(2, 0); INPUTS(2, 1);
        INPUTS(3, 0);
    }
#undef INPUTS
#undef OUTPUTS
#undef ROWS
}

/* What comes back for an element of a sum, through its value and through the rectified one. */
INLINE float back(const int from_value, const int from_rect, float dvalue, float drect, float rect, float cap) {
    float sum = from_value ? dvalue : 0;
    return from_rect && !((rect <= 0) | (rect >= cap)) ? sum + drect : sum;
}

/* Of a chunk of rows of what comes back: s, its sum over rows; p, that of its products with n tensors less their means;
   and itself to g where `keep`. Constants as in `sum_rows`. */
INLINE void gather_rows(const int n, const int from_value, const int from_rect, const int keep, const long width,
                        long count, const float *restrict dvalue, const float *restrict drect,
                        const float *restrict rect, float cap, const float *restrict x, const float *restrict y,
                        const float *restrict z, const float *restrict mean, float *restrict g, float *restrict s,
                        float *restrict p) {
    for (long r = 0; r < count; r++)
        for (long i = 0, j = r * width; i < width; i++, j++) {
            float sum = back(from_value, from_rect, from_value ? dvalue[j] : 0, from_rect ? drect[j] : 0,
                             from_rect ? rect[j] : 0, cap);
            if (keep) g[j] = sum;
            if (n > 0) s[i] += sum;
            if (n > 0) p[i] += sum * (x[j] - mean[i]);
            if (n > 1) p[WIDEST + i] += sum * (y[j] - mean[WIDEST + i]);
            if (n > 2) p[2 * WIDEST + i] += sum * (z[j] - mean[2 * WIDEST + i]);
        }
}

/* Gradient dx of a tensor x before batch norm, from what comes back for the sum it is part of. */
INLINE void spread_rows(const int from_value, const int from_rect, const long width, long wide,
                        const float *restrict dvalue, const float *restrict drect, const float *restrict rect, float cap,
                        const float *restrict x, const float *restrict a, const float *restrict b,
                        const float *restrict d, float *restrict dx) {
    for (long r = 0; r < wide; r++)
        for (long i = 0, j = r * width; i < width; i++, j++) {
            float sum = back(from_value, from_rect, from_value ? dvalue[j] : 0, from_rect ? drect[j] : 0,
                             from_rect ? rect[j] : 0, cap);
            dx[j] = sum * a[i] + (x[j] * b[i] + d[i]);
        }
}

/* Gradients of `combine`. What comes back for value and for rect (either null, not both) is added up, to g where it is
   not null: the gradient of each plain tensor. dz are the gradients of the n tensors before batch norm, sums (n, 2, c)
   those of its gamma and beta. */
void combine_backward(long n, const float **z, const float **factors, const float *dvalue, const float *drect,
                      const float *rect, long rows, long c, float cap, float *g, float **dz, float *sums) {
    long fold = together(rows, c), width = c * fold, wide = rows / fold;
    double total[WIDEST] = {0}, product[MOST * WIDEST] = {0};
    float s[WIDEST], p[MOST * WIDEST], mean[MOST * WIDEST], a[WIDEST], b[WIDEST], d[WIDEST];
    const float *in[MOST] = {0};
    for (long k = 0; k < n; k++) {
        in[k] = z[k];
        for (long i = 0; i < width; i++) mean[k * WIDEST + i] = factors[k][MEAN * c + i % c];
    }
    for (long start = 0; start < wide; start += CHUNK) {
        long count = start + CHUNK < wide ? CHUNK : wide - start, from = start * width;
        for (long i = 0; i < width; i++) s[i] = 0;
        for (long k = 0; k < n; k++)
            for (long i = 0; i < width; i++) p[k * WIDEST + i] = 0;
#define AT(tensor) ((tensor) ? (tensor) + from : 0)
#define ROWS(n, v, r, keep, width)                                                                                     \
    gather_rows(n, v, r, keep, width, count, AT(dvalue), AT(drect), AT(rect), cap, AT(in[0]), AT(in[1]), AT(in[2]),    \
                mean, AT(g), s, p)
#define GIVEN(n, keep, width)                                                                                          \
    if (dvalue && drect) ROWS(n, 1, 1, keep, width);                                                                   \
    else if (drect) ROWS(n, 0, 1, keep, width);                                                                        \
    else ROWS(n, 1, 0, keep, width)
#define INPUTS(n)                                                                                                      \
    case n:                                                                                                            \
        if (g) { GIVEN(n, 1, width); }                                                                                 \
        else if (width == FOLDED) { GIVEN(n, 0, FOLDED); }                                                             \
        else { GIVEN(n, 0, width); }                                                                                   \
        break
        switch (n) { INPUTS(0); INPUTS(1); INPUTS(2); INPUTS(3); }
#undef INPUTS
#undef GIVEN
#undef ROWS
#undef AT
        for (long i = 0; i < width; i++) total[i % c] += s[i];
        for (long k = 0; k < n; k++)
            for (long i = 0; i < width; i++) product[k * WIDEST + i % c] += p[k * WIDEST + i];
    }
    for (long k = 0; k < n; k++) {
        for (long i = 0; i < width; i++) {
            double scale = factors[k][SCALE * c + i % c], inverse = factors[k][INVERSE * c + i % c];
            double slope = -scale * inverse * inverse * product[k * WIDEST + i % c] / rows;
            a[i] = (float)scale;
            b[i] = (float)slope;
            d[i] = (float)(-scale * total[i % c] / rows - slope * mean[k * WIDEST + i]);
        }
        for (long i = 0; i < c; i++) {
            sums[2 * k * c + i] = (float)(product[k * WIDEST + i] * factors[k][INVERSE * c + i]);
            sums[(2 * k + 1) * c + i] = (float)total[i];
        }
        if (g) spread_rows(1, 0, width, wide, g, 0, 0, cap, z[k], a, b, d, dz[k]);
        else if (dvalue && drect) spread_rows(1, 1, width, wide, dvalue, drect, rect, cap, z[k], a, b, d, dz[k]);
        else if (drect) spread_rows(0, 1, width, wide, 0, drect, rect, cap, z[k], a, b, d, dz[k]);
        else spread_rows(1, 0, width, wide, dvalue, 0, 0, cap, z[k], a, b, d, dz[k]);
    }
}

/* 3x3 average at stride 1 over the pixels that are there; x and out (b, h, w, c), line (w * c). */
void pool(const float *x, long b, long h, long w, long c, float *line, float *out) {
    long width = w * c;
    for (long image = 0; image < b; image++)
        for (long y = 0; y < h; y++) {
            const float *row = x + (image * h + y) * width;
            float *to = out + (image * h + y) * width;
            long rows = 1 + (y > 0) + (y + 1 < h);
            for (long i = 0; i < width; i++) line[i] = row[i];
            if (y > 0)
                for (long i = 0; i < width; i++) line[i] += row[i - width];
            if (y + 1 < h)
                for (long i = 0; i < width; i++) line[i] += row[i + width];
            float inside = 1.0f / (3 * rows), side = 1.0f / (2 * rows);
            for (long i = c; i < width - c; i++) to[i] = (line[i - c] + line[i] + line[i + c]) * inside;
            for (long i = 0; i < c; i++) {
                to[i] = (line[i] + line[i + c]) * side;
                to[width - c + i] = (line[width - c + i] + line[width - 2 * c + i]) * side;
            }
        }
}

/* Gradient of `pool`: each pixel's share of the averages it was part of; g and out (b, h, w, c), line (w * c). */
void pool_backward(const float *g, long b, long h, long w, long c, float *line, float *out) {
    long width = w * c;
    for (long image = 0; image < b; image++)
        for (long y = 0; y < h; y++) {
            const float *row = g + (image * h + y) * width;
            float *to = out + (image * h + y) * width;
            for (long i = 0; i < width; i++) line[i] = 0;
            for (long other = y > 0 ? y - 1 : 0; other <= y + 1 && other < h; other++) {
                const float *in = row + (other - y) * width;
                float inside = 1.0f / (3 * (1 + (other > 0) + (other + 1 < h))), side = 1.5f * inside;
                for (long i = 0; i < c; i++) line[i] += in[i] * side;
                for (long i = c; i < width - c; i++) line[i] += in[i] * inside;
                for (long i = width - c; i < width; i++) line[i] += in[i] * side;
            }
            for (long i = c; i < width - c; i++) to[i] = line[i - c] + line[i] + line[i + c];
            for (long i = 0; i < c; i++) {
                to[i] = line[i] + line[i + c];
                to[width - c + i] = line[width - c + i] + line[width - 2 * c + i];
            }
        }
}

/* 2x2 average at stride 2 of x (b, 2 h, 2 w, c), to out (b, h, w, c). */
void halve(const float *x, long b, long h, long w, long c, float *out) {
    long line = 2 * w * c;
    for (long row = 0; row < b * h; row++)
        for (long p = 0; p < w; p++) {
            const float *from = x + 2 * row * line + 2 * p * c;
            float *to = out + (row * w + p) * c;
            for (long i = 0; i < c; i++) to[i] = (from[i] + from[c + i] + (from[line + i] + from[line + c + i])) * .25f;
        }
}

/* Gradient of `halve`: a quarter to each of four pixels; g (b, h, w, c), out (b, 2 h, 2 w, c). */
void halve_backward(const float *g, long b, long h, long w, long c, float *out) {
    long line = 2 * w * c;
    for (long row = 0; row < b * h; row++)
        for (long p = 0; p < w; p++) {
            const float *from = g + (row * w + p) * c;
            float *to = out + 2 * row * line + 2 * p * c;
            for (long i = 0; i < c; i++) to[i] = to[c + i] = to[line + i] = to[line + c + i] = from[i] * .25f;
        }
}

typedef float eight __attribute__((vector_size(32), aligned(4)));
typedef float four __attribute__((vector_size(16), aligned(4)));

/* Products of a row of gradients g (out, c) with a padded row of inputs x, added to the k taps of dw (k, c). */
INLINE void taps(const int k, long out, long stride, long dilation, long c, const float *restrict g,
                 const float *restrict x, float *restrict dw) {
    long from = 0;
#define CHANNELS(vector, count)                                                                                        \
    for (; from + count <= c; from += count) {                                                                         \
        vector sums[MOST_TAPS];                                                                                        \
        for (int t = 0; t < k; t++) sums[t] = *(vector *)(dw + t * c + from);                                          \
        for (long i = 0; i < out; i++) {                                                                               \
            vector back = *(const vector *)(g + i * c + from);                                                         \
            for (int t = 0; t < k; t++) sums[t] += back * *(const vector *)(x + (i * stride + t * dilation) * c + from); \
        }                                                                                                              \
        for (int t = 0; t < k; t++) *(vector *)(dw + t * c + from) = sums[t];                                          \
    }
    CHANNELS(eight, 8)
    CHANNELS(four, 4)
    CHANNELS(float, 1)
#undef CHANNELS
}

/* Gradient of the weights of a depthwise convolution, k x k, k odd: dw (k, k, c), which must be 0, from its input x
   (b, h, w, c) and what comes back, g (b, out_h, out_w, c). line has w + 2 * padding pixels and is 0. Sums are taken
   image by image, in `part` (k, k, c). */
void depthwise_backward(const float *x, const float *g, long b, long h, long w, long c, long out_h, long out_w, long k,
                        long stride, long padding, long dilation, float *line, float *part, float *dw) {
    for (long image = 0; image < b; image++) {
        for (long i = 0; i < k * k * c; i++) part[i] = 0;
        for (long row = 0; row < h; row++) {
            const float *in = x + (image * h + row) * w * c;
            for (long i = 0; i < w * c; i++) line[padding * c + i] = in[i];
            for (long t = 0; t < k; t++) {
                long above = row + padding - t * dilation, y = above / stride;
                if (above < 0 || above % stride || y >= out_h) continue;
                const float *back = g + (image * out_h + y) * out_w * c;
                float *to = part + t * k * c;
                switch (k) {
                    case 3: taps(3, out_w, stride, dilation, c, back, line, to); break;
                    case 5: taps(5, out_w, stride, dilation, c, back, line, to); break;
                    case 7: taps(7, out_w, stride, dilation, c, back, line, to); break;
                }
            }
        }
        for (long i = 0; i < k * k * c; i++) dw[i] += part[i];
    }
}

/* A convolution k x k, k odd, padded by k / 2, of images (h, w, ci). Once an image has its padding, an output needs of
   each of k lines a run of k * ci floats. Images go through in groups of about GROUP outputs, which stay in the cache.
   `spread` puts that many pixels, all but the first 0, where the input has one: a stride on the way back. */
struct layout {
    long images, pixels, run, line, area; /* images in a group, outputs of each; floats in a run, a line, an image */
    int plain;                            /* 1x1 at stride 1: nothing to pad, a pixel counts as an image */
};

static struct layout lay_out(long *b, long h, long w, long ci, long k, long stride, long spread, int *at) {
    long wide = (w * spread - 1) / stride + 1;
    struct layout it = {1, ((h * spread - 1) / stride + 1) * wide, k * ci, (w * spread + k - 1) * ci, 0,
                        k == 1 && stride == 1 && spread == 1};
    it.area = (h * spread + k - 1) * it.line;
    if (it.plain) {
        *b *= it.pixels;
        it.pixels = 1;
        it.area = ci;
    }
    if (it.pixels < GROUP) it.images = GROUP / it.pixels;
    if (it.images > *b) it.images = *b;
    for (long q = 0; q < it.images * it.pixels; q++)
        at[q] = q / it.pixels * it.area + (it.plain ? 0 : (q % it.pixels / wide * it.line + q % wide * ci) * stride);
    return it;
}

/* For weights (co, ci, k, k) and a group of padded images. */
static float *room_for(const struct layout *it, long k, long co) {
    float *room = malloc((k * it->run * co + it->images * it->area) * sizeof(float));
    if (!room) abort();
    return room;
}

/* Where a weight (co, ci, k, k) lies: channels last, or as it is written. */
static long place(long channels_last, long ci, long k, long o, long i, long t) {
    return channels_last ? (o * k * k + t) * ci + i : (o * ci + i) * k * k + t;
}

/* Some images (h, w, ci) to `padded`, whose other pixels are 0 and stay so. */
static void pad(const float *x, long images, long h, long w, long ci, long k, long spread, const struct layout *it,
                float *padded) {
    for (long row = 0; row < images * h; row++) {
        const float *from = x + row * w * ci;
        float *to = padded + row / h * it->area + (row % h * spread + k / 2) * it->line + k / 2 * ci;
        if (spread == 1)
            for (long i = 0; i < w * ci; i++) to[i] = from[i];
        else
            for (long p = 0; p < w; p++)
                for (long i = 0; i < ci; i++) to[p * spread * ci + i] = from[p * ci + i];
    }
}

/* 8 * v channels of p outputs, whose runs begin `at` floats from x; w (k, run, 8 * v). p and v are constants where this
   is used, so that the sums stay in registers. */
INLINE void outputs(const int p, const int v, long k, long run, long line, const float *restrict x, const int *at,
                    const float *restrict w, long co, long add, float *restrict out) {
    eight sums[8][2];
    for (int j = 0; j < p; j++)
        for (int u = 0; u < v; u++) sums[j][u] = add ? *(const eight *)(out + j * co + 8 * u) : (eight){0};
    for (long t = 0; t < k; t++) {
        const float *in[8];
        for (int j = 0; j < p; j++) in[j] = x + at[j] + t * line;
        for (long i = 0; i < run; i++, w += 8 * v) {
            eight weight[2];
            for (int u = 0; u < v; u++) weight[u] = *(const eight *)(w + 8 * u);
            for (int j = 0; j < p; j++) {
                float value = in[j][i];
                for (int u = 0; u < v; u++) sums[j][u] += weight[u] * value;
            }
        }
    }
    for (int j = 0; j < p; j++)
        for (int u = 0; u < v; u++) *(eight *)(out + j * co + 8 * u) = sums[j][u];
}

/* Convolution of x (b, h, w, ci) to out (b, ..., co), co a multiple of 8. The weights (co, ci, k, k) are channels-last or
   not. `turned` convolves with weights (ci, co, k, k) turned round: at stride 1 and with the stride of a convolution as
   `spread` it is the way back of that. `add` adds to out. */
void convolve(const float *x, long b, long h, long w, long ci, const float *weight, long channels_last, long co, long k,
              long stride, long spread, long turned, long add, float *out) {
    int at[MOST_PIXELS];
    struct layout it = lay_out(&b, h, w, ci, k, stride, spread, at);
    float *packed = room_for(&it, k, co), *padded = packed + k * it.run * co;
    for (long from = 0, width; from < co; from += width) {
        float *to = packed + from * k * it.run;
        width = co - from >= 16 ? 16 : 8;
        for (long t = 0; t < k * k; t++) {
            for (long i = 0; i < ci; i++)
                for (long o = from; o < from + width; o++)
                    *to++ = weight[turned ? place(channels_last, co, k, i, o, k * k - 1 - t) : place(channels_last, ci, k, o, i, t)];
        }
    }
    if (!it.plain)
        for (long i = 0; i < it.images * it.area; i++) padded[i] = 0;
    for (long start = 0, count; start < b; start += count) {
        const float *in = it.plain ? x + start * ci : padded;
        float *to = out + start * it.pixels * co;
        count = start + it.images < b ? it.images : b - start;
        if (!it.plain) pad(x + start * h * w * ci, count, h, w, ci, k, spread, &it, padded);
        for (long from = 0, width; from < co; from += width) {
            const float *filters = packed + from * k * it.run;
            long q = 0, n = count * it.pixels;
            width = co - from >= 16 ? 16 : 8;
#define OUTPUTS(p, v)                                                                                                  \
    for (; q + p <= n; q += p) outputs(p, v, k, it.run, it.line, in, at + q, filters, co, add, to + q * co + from)
            if (width == 16) { OUTPUTS(6, 2); OUTPUTS(4, 2); OUTPUTS(1, 2); }
            else { OUTPUTS(8, 1); OUTPUTS(4, 1); OUTPUTS(1, 1); }
#undef OUTPUTS
        }
    }
    free(packed);
}

/* `convolve` at stride `stride` to z, and `statistics` of what it makes, of n outputs. */
void operate(const float *x, long b, long h, long w, long ci, const float *weight, long channels_last, long co, long k,
             long stride, float *z, long n, double eps, const float *gamma, const float *beta, double share,
             float *running_mean, float *running_variance, float *factors) {
    convolve(x, b, h, w, ci, weight, channels_last, co, k, stride, 1, 0, 0, z);
    statistics(z, n, co, eps, gamma, beta, share, running_mean, running_variance, factors);
}

/* Products of p floats of n runs with 8 * v channels of what comes back, g (n, co), added to dw (p, co). */
INLINE void products(const int p, const int v, long n, const float *restrict x, const int *restrict at,
                     const float *restrict g, long co, float *restrict dw) {
    eight sums[12][2];
    for (int j = 0; j < p; j++)
        for (int u = 0; u < v; u++) sums[j][u] = (eight){0};
    for (long q = 0; q < n; q++) {
        const float *in = x + at[q];
        eight back[2];
        for (int u = 0; u < v; u++) back[u] = *(const eight *)(g + q * co + 8 * u);
        for (int j = 0; j < p; j++)
            for (int u = 0; u < v; u++) sums[j][u] += back[u] * in[j];
    }
    for (int j = 0; j < p; j++)
        for (int u = 0; u < v; u++) *(eight *)(dw + j * co + 8 * u) += sums[j][u];
}

/* Gradient of the weights of a convolution, dw (co, ci, k, k), channels-last or not, from its input x
   (b, h, w, ci) and what comes back, g (b, ..., co). */
void convolve_weights(const float *x, const float *g, long b, long h, long w, long ci, long channels_last, long co,
                      long k, long stride, float *dw) {
    int at[MOST_PIXELS];
    struct layout it = lay_out(&b, h, w, ci, k, stride, 1, at);
    float *part = room_for(&it, k, co), *padded = part + k * it.run * co;
    for (long i = 0; i < k * it.run * co; i++) part[i] = 0;
    if (!it.plain)
        for (long i = 0; i < it.images * it.area; i++) padded[i] = 0;
    for (long start = 0, count; start < b; start += count) {
        const float *in = it.plain ? x + start * ci : padded, *back = g + start * it.pixels * co;
        count = start + it.images < b ? it.images : b - start;
        if (!it.plain) pad(x + start * h * w * ci, count, h, w, ci, k, 1, &it, padded);
        for (long t = 0; t < k; t++)
            for (long from = 0, width; from < co; from += width) {
                const float *row = in + t * it.line;
                float *to = part + t * it.run * co + from;
                long i = 0, n = count * it.pixels;
                width = co - from >= 16 ? 16 : 8;
#define PRODUCTS(p, v)                                                                                                 \
    for (; i + p <= it.run; i += p) products(p, v, n, row + i, at, back + from, co, to + i * co)
                if (width == 16) { PRODUCTS(6, 2); PRODUCTS(4, 2); PRODUCTS(1, 2); }
                else { PRODUCTS(12, 1); PRODUCTS(8, 1); PRODUCTS(4, 1); PRODUCTS(1, 1); }
#undef PRODUCTS
            }
    }
    for (long t = 0; t < k * k; t++)
        for (long i = 0; i < ci; i++)
            for (long o = 0; o < co; o++) dw[place(channels_last, ci, k, o, i, t)] = part[(t * ci + i) * co + o];
    free(part);
}
