# Cross build for 64-bit ARM Linux with Debian's gcc-aarch64-linux-gnu; tests run under qemu-user (qemu-user-static).
#
# Libraries of the target come from MILLET_SYSROOT_DEBS, which tools/cross-packages.sh fills; libc comes with the
# compiler. The program millet is linked statically as a whole. The tests are but for libc and cmocka, which Debian has as
# a shared library only: so the emulator is told where the target's loader and libc are (-L), and the build's run path
# leads to cmocka.
#
# The emulated CPU has every level that Millet has kernels for; MILLET_CPU=scalar|neon|dotprod|i8mm chooses one.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)

set(MILLET_SYSROOT_DEBS "${CMAKE_CURRENT_LIST_DIR}/../build/aarch64-sysroot"
    CACHE PATH "Unpacked packages of the target's architecture")
if(NOT EXISTS "${MILLET_SYSROOT_DEBS}/.packages")
  message(FATAL_ERROR "The libraries for aarch64 are missing; run tools/cross-packages.sh once, then configure again.")
endif()
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES MILLET_SYSROOT_DEBS)

set(CMAKE_FIND_ROOT_PATH "${MILLET_SYSROOT_DEBS}" /usr/aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)

set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64-static -cpu max -L /usr/aarch64-linux-gnu)
