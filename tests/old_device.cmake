# The test says what the GPU is.
target_link_options(test_old_device PRIVATE -Wl,--wrap=mpt_device_describe)
