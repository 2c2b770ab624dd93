# Places of buffers are taken apart, and memory ends, where the tests want it to.
target_link_options(test_network_memory PRIVATE -Wl,--wrap=memory_fit
                    -Wl,--wrap=mpt_memory_allocate -Wl,--wrap=mpt_device_describe)
target_link_options(test_gradients PRIVATE -Wl,--wrap=memory_fit)
