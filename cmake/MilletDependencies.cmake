# Libraries from the system; nothing is downloaded. Cross builds may lack them: then PCRE2 is looked for in
# MILLET_SYSROOT_DEBS (unpacked packages of the target's architecture, see tools/cross-packages.sh).
find_path(MILLET_PCRE2_INCLUDE pcre2.h REQUIRED)
find_library(MILLET_PCRE2 NAMES pcre2-8 libpcre2-8.a REQUIRED)
if(MILLET_LAB)
  find_path(MILLET_JANSSON_INCLUDE jansson.h REQUIRED)
  find_library(MILLET_JANSSON NAMES jansson libjansson.a REQUIRED)
  find_path(MILLET_ZLIB_INCLUDE zlib.h REQUIRED)
  find_library(MILLET_ZLIB NAMES z libz.a REQUIRED)
  if(MILLET_MPI)
    find_package(MPI REQUIRED COMPONENTS C)
  endif()
endif()
