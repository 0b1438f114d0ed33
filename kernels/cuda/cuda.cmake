# The cuda device where there is an nvcc: sets CUDA_SOURCES (none without one) and CUDA_LIBRARIES.
# BIFRONS_CUDA=AUTO|ON|OFF; ON insists. The program needs neither toolkit nor driver to run.
set(BIFRONS_CUDA AUTO CACHE STRING "The cuda device: AUTO (where nvcc is found), ON or OFF")
set(CUDA_SOURCES)
set(CUDA_LIBRARIES)
if(BIFRONS_CUDA STREQUAL "OFF")
  return()
endif()

find_program(CMAKE_CUDA_COMPILER nvcc HINTS ENV CUDA_PATH PATHS /usr/local/cuda /opt/cuda PATH_SUFFIXES bin)
if(NOT CMAKE_CUDA_COMPILER)
  if(NOT BIFRONS_CUDA STREQUAL "AUTO")
    message(FATAL_ERROR "BIFRONS_CUDA is ${BIFRONS_CUDA}, but there is no nvcc: set CMAKE_CUDA_COMPILER to it")
  endif()
  message(STATUS "No nvcc: building without the cuda device")
  return()
endif()
# Before enable_language: what CMake takes by default may be older than the toolkit. Turing to Blackwell, and PTX that
# the driver can compile for what comes after.
# The kernels use nothing that compute_80 or compute_90 lacks: one PTX for several GPUs is compiled once, and looked at by
# tests/cuda_gates, so who names GPUs gets theirs of it, too.
set(CUDA_CODE)
if(NOT CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES OFF)
  set(CUDA_CODE
    --generate-code=arch=compute_75,code=[sm_75]
    --generate-code=arch=compute_80,code=[sm_80,sm_86,sm_89]
    --generate-code=arch=compute_90,code=[sm_90,sm_100,sm_120,compute_90])
elseif(CMAKE_CUDA_ARCHITECTURES MATCHES "^[0-9]+(-real)?(;[0-9]+(-real)?)*$")
  set(GPUS ${CMAKE_CUDA_ARCHITECTURES})
  set(CMAKE_CUDA_ARCHITECTURES OFF)
  foreach(name ${GPUS})
    string(REPLACE "-real" "" gpu ${name})
    set(ptx 75)
    foreach(newer 80 90)
      if(gpu GREATER_EQUAL newer)
        set(ptx ${newer})
      endif()
    endforeach()
    list(APPEND CUDA_CODE --generate-code=arch=compute_${ptx},code=[sm_${gpu}])
    if(name STREQUAL gpu)  # as CMake means it: and PTX for newer ones
      list(APPEND CUDA_CODE --generate-code=arch=compute_${ptx},code=[compute_${ptx}])
    endif()
  endforeach()
  list(REMOVE_DUPLICATES CUDA_CODE)
endif()
enable_language(CUDA)
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25 does not know that newer ones have it
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
endif()
set(CMAKE_CUDA_STANDARD 20)
find_package(CUDAToolkit REQUIRED)

file(GLOB CUDA_SOURCES CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*.cu)
file(GLOB CUDA_HOST_SOURCES CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*.cpp)  # without kernels
# As it is written: what a kernel computes has the same bits on every GPU and, compiled for it, on a processor. A spill is
# a mistake.
set_source_files_properties(${CUDA_SOURCES} PROPERTIES COMPILE_OPTIONS
  "${CUDA_CODE};-fmad=false;-prec-div=true;-prec-sqrt=true;-ftz=false;-Xptxas=-warn-spills;-Xcompiler=-Wall,-Wextra")
list(APPEND CUDA_SOURCES ${CUDA_HOST_SOURCES})
set(CUDA_LIBRARIES CUDA::cudart_static)
set(CUDA_PC_LIBRARIES " -L${CUDAToolkit_LIBRARY_DIR} -lcudart_static -ldl -lrt")  # for bifrons.pc
