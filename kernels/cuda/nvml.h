/* NVML, the driver's management library: what the CUDA runtime does not tell about a device. It
 * comes with the driver and is loaded at run time; CUDA 13.0's toolkit has no header for it, so the
 * few functions in use are declared in nvml.c. */
#ifndef MPT_KERNELS_NVML_H
#define MPT_KERNELS_NVML_H

#include "mptune/device.h"
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Whether NVML was found and works. Loaded once in a process and never unloaded. */
bool mpt_nvml_found(void);

/* "580.95.05"; empty when it is not known. */
void mpt_nvml_driver_version(char *version, size_t size);

/* Fills what NVML knows of the device and leaves the rest. False when it knows no such device. */
bool mpt_nvml_observe(const char *uuid, mpt_device_activity *activity);

#ifdef __cplusplus
}
#endif
#endif
