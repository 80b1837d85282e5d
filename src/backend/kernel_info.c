/* backend/kernel_info.c - see backend.h: what kernel_info handed out is freed here, for every backend. */
#include "backend/backend.h"

#include <stdlib.h>

void pen_backend_kernel_info_free(struct pen_msg_kernel_info *info)
{
    if (!info)
        return;
    for (uint32_t i = 0; i < info->arguments_count; i++) {
        free((void *)(uintptr_t)info->arguments[i].type_name);
        free((void *)(uintptr_t)info->arguments[i].name);
    }
    free((void *)(uintptr_t)info->arguments);
    free((void *)(uintptr_t)info->devices);
    free((void *)(uintptr_t)info->name);
    free((void *)(uintptr_t)info->attributes);
    *info = (struct pen_msg_kernel_info){0};
}
