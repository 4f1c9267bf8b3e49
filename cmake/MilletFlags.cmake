# Flags for all of Millet's code. One arithmetic: no contraction of a*b+c, no fast math, in any build.
set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_C_FLAGS_RELEASE "-O3 -g1")
set(CMAKE_C_FLAGS_DEBUG "-O1 -g")

add_compile_definitions(_POSIX_C_SOURCE=200809L _DEFAULT_SOURCE)
add_compile_options(-ffp-contract=off -fvisibility=hidden -fno-math-errno -fno-strict-aliasing
                    -Wall -Wextra -Wconversion -Wno-sign-conversion -Wshadow -Wstrict-prototypes
                    -Wmissing-prototypes -Wpointer-arith -Wcast-qual -Wvla)
if(MILLET_WERROR)
  add_compile_options(-Werror)
endif()

set(MILLET_SANITIZE "" CACHE STRING "Sanitizers, as in -fsanitize=; empty for none")
if(MILLET_SANITIZE)
  add_compile_options(-fsanitize=${MILLET_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${MILLET_SANITIZE})
endif()
