/* Wider vectors, chosen when the program starts.
 *
 * MPT_VECTOR_CLONES before a function has it compiled for AVX-512, AVX2 and the baseline; the
 * processor decides which one runs. Plain C loops inside, and the inline functions they call, are
 * what the compiler vectorises. Without contraction and fast-math every clone computes the same
 * bits, so a sum that should vectorise keeps its lanes in an array. Names must be unique across
 * files even when static: clang gives the function that chooses external linkage. */
#ifndef MPT_BASE_SIMD_H
#define MPT_BASE_SIMD_H

/* The thread sanitizer's code runs before it is ready where a clone is chosen; gcc and clang each
 * have a way to say that it is there. */
#if defined(__SANITIZE_THREAD__)
#define MPT_THREAD_SANITIZER
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define MPT_THREAD_SANITIZER
#endif
#endif

#if defined(__x86_64__) && defined(__gnu_linux__) && !defined(MPT_THREAD_SANITIZER)
#define MPT_VECTOR_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define MPT_VECTOR_CLONES
#endif

#define MPT_INLINE static inline __attribute__((always_inline))

/* Before a loop whose iterations are independent though its pointers may be the same. */
#ifdef __clang__
#define MPT_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define MPT_INDEPENDENT _Pragma("GCC ivdep")
#endif

#endif
