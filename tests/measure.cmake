# Products are timed by the test itself: no GPU is needed to see which ones are asked for.
target_link_options(test_measure PRIVATE -Wl,--wrap=mpt_gemm_time)
