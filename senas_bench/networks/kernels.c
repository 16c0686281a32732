/* Batch norm, sums, ReLU and 3x3 pools of channels-last float tensors, forward and backward, on one thread. See kernels.py.

   A tensor (batch, channels, height, width) in this layout is a matrix of batch * height * width rows of c floats. */
#include <math.h>
#define WIDEST 2048
#define MOST 3
#define MOST_TAPS 7
#define CHUNK 64
#define FOLDED 64
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
   row of the chunk, which lies near the mean; chunks are merged in double. gamma and beta may be null. */
void statistics(const float *z, long rows, long c, double eps, const float *gamma, const float *beta, float *factors) {
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
