# Tests that are not plain Catch2 programs, and properties of those that are.

# The ops and the vision networks: the plain tests take the best instruction set; oneDNN's is chosen once per
# process, so each of the lesser ones is a run of its own: avx512 where there is amx. A set that the processor lacks is a
# warning.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set(ISAS baseline avx2)
  file(STRINGS /proc/cpuinfo AMX REGEX amx_bf16 LIMIT_COUNT 1)
  if(AMX AND NOT BIFRONS_SANITIZE)
    list(APPEND ISAS avx512)
  endif()
  foreach(isa ${ISAS})
    foreach(test ops_matrix_test ops_rows_test ops_attention_test ops_maps_test vq_decoder_test vq_encoder_test siglip_test)
      if(BIFRONS_SANITIZE AND test STREQUAL ops_matrix_test AND isa STREQUAL baseline)
        continue()  # the same bodies as avx2's; the release run has it
      endif()
      add_test(NAME ${test}_${isa} COMMAND ${test})
      set_tests_properties(${test}_${isa} PROPERTIES ENVIRONMENT BIFRONS_TEST_ISA=${isa})
    endforeach()
  endforeach()
endif()

# kernels/cuda, run on the CPU (cuda_on_cpu/): the tests that run the program, with its cuda device as one more. The bundled
# model is compared with the cpu device there by selftest_test, and with its goldens in the long tests. Sanitizers make the
# emulated GPU too slow for pictures.
set_tests_properties(device_choice_test convolutions_test PROPERTIES
  ENVIRONMENT BIFRONS_TEST_PROGRAM=$<TARGET_FILE:bifrons_on_cpu>)
target_compile_definitions(convolutions_test PRIVATE CUDNN_FOLDER="${CMAKE_CURRENT_BINARY_DIR}/cuda_on_cpu/cudnn_")
function(add_test_on_cpu name)
  add_test(NAME ${name} COMMAND ${ARGN})
  set_tests_properties(${name} PROPERTIES TIMEOUT 3600 COST 100
    ENVIRONMENT "BIFRONS_TEST_PROGRAM=$<TARGET_FILE:bifrons_on_cpu>;BIFRONS_TEST_DEVICE=cuda")
endfunction()
foreach(test reference_test understanding_reference_test same_picture_test same_answer_test)
  list(JOIN ${test}_CASES "," cases)
  add_test_on_cpu(${test}_cuda ${test} ${cases})
  if(BIFRONS_SANITIZE)
    set_tests_properties(${test}_cuda PROPERTIES LABELS long)
  endif()
  if(cases)
    add_test_on_cpu(${test}_cuda_long ${test} "the bundled model*")
    set_tests_properties(${test}_cuda_long PROPERTIES LABELS long)
  endif()
endforeach()

# Begun first, so that none of them runs on alone in the end.
set_tests_properties(company_test image_wrong_input_test large_input_test large_lists_test ops_matrix_test reference_test
  render_killed_test understanding_reference_test wrong_input_test PROPERTIES COST 50)
if(ISAS)
  set_tests_properties(ops_matrix_test_avx2 PROPERTIES COST 50)
endif()

# Draw again and again, beside the scalar reference or on the emulated GPU; read lists of very many lines; start every verb
# for every wrong option and every wrong file of a model's folder: what runs there is looked at in the other tests and by the
# fuzz targets.
if(BIFRONS_SANITIZE)
  set_tests_properties(selftest_test large_lists_test render_scale_test convolutions_test device_choice_test model_folder_test
    usage_test PROPERTIES LABELS long)
  # Whole models with the best instruction set; the others, and ref, in the op matrix.
  set_tests_properties(reference_test understanding_reference_test same_picture_test same_answer_test convert_test kv_type_test
    PROPERTIES ENVIRONMENT_MODIFICATION BIFRONS_TEST_DEVICE=set:cpu)
endif()

# What the thread sanitizer looks at: the engine's own tests and rendering.
set(TSAN_TESTS thread_pool_test engine_test answer_test conversation_test scheduler_test company_test kv_cache_test
  same_picture_test render_test render_lists_test render_ownership_test render_restart_test render_killed_test)
set_tests_properties(${TSAN_TESTS} PROPERTIES LABELS tsan TIMEOUT 1200)
add_custom_target(tsan_tests DEPENDS bifrons ${TSAN_TESTS})

# libheif 1.15 and its decoders lose memory of theirs over damaged files, in threads of their own.
set_tests_properties(image_wrong_input_test image_photo_wrong_test PROPERTIES ENVIRONMENT ASAN_OPTIONS=detect_leaks=0)

# Fontconfig reads its configuration once per process, so a system without fonts is a run of its own.
add_test(NAME sheet_test_without_fonts COMMAND sheet_test [.without_fonts])
set_tests_properties(sheet_test_without_fonts PROPERTIES ENVIRONMENT
  FONTCONFIG_FILE=${CMAKE_CURRENT_SOURCE_DIR}/no_fonts.conf)
add_test(NAME render_killed_long COMMAND render_killed_test [.long])
set_tests_properties(render_killed_long PROPERTIES LABELS long TIMEOUT 1200)
add_test(NAME signals_long COMMAND signals_test [.long])
set_tests_properties(signals_long PROPERTIES LABELS long TIMEOUT 1200)
add_test(NAME render_scale_long COMMAND render_scale_test [.long])
set_tests_properties(render_scale_long PROPERTIES LABELS long RUN_SERIAL TRUE TIMEOUT 1200)

find_package(Python3 REQUIRED)

set(WITH_PACKAGE bash ${CMAKE_CURRENT_SOURCE_DIR}/with_package.sh)
# Downloads, from a hub on this machine; the hub's own client as the oracle.
target_link_libraries(hub_test PRIVATE bifrons_hub)
add_test(NAME pull_test COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/hub/pull_test.py $<TARGET_FILE:bifrons>)
set_tests_properties(pull_test PROPERTIES COST 50)
add_test(NAME hub_oracle COMMAND ${WITH_PACKAGE} ${CMAKE_CURRENT_BINARY_DIR}/hub_oracle ${CMAKE_CURRENT_SOURCE_DIR}/hub/hub_oracle.py
                                 $<TARGET_FILE:bifrons>)
set_tests_properties(hub_oracle PROPERTIES LABELS long)

# Files of bifrons convert, with PyPI's gguf as the oracle.
add_test(NAME gguf_oracle COMMAND ${WITH_PACKAGE} ${CMAKE_CURRENT_BINARY_DIR}/gguf_oracle
                                  ${CMAKE_CURRENT_SOURCE_DIR}/gguf_oracle.py $<TARGET_FILE:bifrons>
                                  ${CMAKE_CURRENT_SOURCE_DIR}/goldens/tiny-a/converted ${PROJECT_SOURCE_DIR}/assets/janus-mini)
set_tests_properties(gguf_oracle PROPERTIES LABELS long)

# Whole builds and runs as tests of the release build, so that one ctest tells of everything (tests/run.sh).
if(BIFRONS_SANITIZE STREQUAL "")
  add_test(NAME process_device_bundled COMMAND process_device_test [.bundled])
  add_test(NAME selftest_bundled COMMAND selftest_test [.bundled])
  set_tests_properties(selftest_bundled PROPERTIES LABELS long)
  add_test(NAME asan COMMAND bash ${CMAKE_CURRENT_SOURCE_DIR}/sanitized.sh asan)
  add_test(NAME tsan COMMAND bash ${CMAKE_CURRENT_SOURCE_DIR}/sanitized.sh tsan)
  add_test(NAME fuzz COMMAND bash ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/run.sh 5)
  add_test(NAME planted_bugs COMMAND bash ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/planted.sh)
  add_test(NAME arm64 COMMAND bash ${CMAKE_CURRENT_SOURCE_DIR}/arm64/run.sh)
  set_tests_properties(asan tsan fuzz planted_bugs arm64 PROPERTIES LABELS whole RUN_SERIAL TRUE TIMEOUT 3600)
  set_tests_properties(asan tsan PROPERTIES ENVIRONMENT BIFRONS_PLAIN_TESTS=${CMAKE_CURRENT_BINARY_DIR})
  add_test(NAME arm64_long COMMAND bash ${CMAKE_CURRENT_SOURCE_DIR}/arm64/run.sh test)
  set_tests_properties(arm64_long PROPERTIES LABELS long RUN_SERIAL TRUE TIMEOUT 3600)

  # What nvcc makes of kernels/cuda; planted faults in it.
  set(GATES ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/cuda_gates/gates.py)
  add_test(NAME cuda_gates COMMAND ${GATES})
  set_tests_properties(cuda_gates PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 3600)
  add_test(NAME cudnn_header COMMAND ${CMAKE_CXX_COMPILER} -std=c++20 -fsyntax-only -Wno-deprecated-declarations
    "$<$<BOOL:${CUDAToolkit_INCLUDE_DIRS}>:-isystem$<JOIN:${CUDAToolkit_INCLUDE_DIRS},;-isystem>>" -I${PROJECT_SOURCE_DIR}
    ${CMAKE_CURRENT_SOURCE_DIR}/cuda_gates/cudnn_header.cpp COMMAND_EXPAND_LISTS)
  set_tests_properties(cudnn_header PROPERTIES SKIP_REGULAR_EXPRESSION "no cudnn.h here")
  add_test(NAME cuda_gates_all COMMAND ${GATES} --all)
  add_test(NAME cuda_mutants COMMAND bash ${CMAKE_CURRENT_SOURCE_DIR}/cuda_on_cpu/run.sh mutants)
  set_tests_properties(cuda_gates_all cuda_mutants PROPERTIES LABELS long RUN_SERIAL TRUE TIMEOUT 3600)

  find_program(RUN_CLANG_TIDY NAMES run-clang-tidy run-clang-tidy-14)
  if(RUN_CLANG_TIDY AND CMAKE_EXPORT_COMPILE_COMMANDS)
    add_test(NAME clang_tidy COMMAND ${RUN_CLANG_TIDY} -quiet -p ${CMAKE_BINARY_DIR}
      "${PROJECT_SOURCE_DIR}/(src|vision|kernels)/")
    set_tests_properties(clang_tidy PROPERTIES LABELS long TIMEOUT 7200)
  endif()
endif()

add_test(NAME full_tokenizers COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/full_tokenizers.sh $<TARGET_FILE:tokenizer_test>
                                      ${CMAKE_CURRENT_BINARY_DIR}/full_tokenizers)
set_tests_properties(full_tokenizers PROPERTIES LABELS long)
add_test(NAME openai_batch_goldens COMMAND ${WITH_PACKAGE} ${CMAKE_CURRENT_BINARY_DIR}/openai ${CMAKE_CURRENT_SOURCE_DIR}/openai_batch.py
                                           goldens ${CMAKE_CURRENT_SOURCE_DIR}/goldens/openai_batch)
add_test(NAME openai_batch COMMAND ${WITH_PACKAGE} ${CMAKE_CURRENT_BINARY_DIR}/openai ${CMAKE_CURRENT_SOURCE_DIR}/openai_batch.py
                                   program $<TARGET_FILE:bifrons>)
set_tests_properties(openai_batch_goldens openai_batch PROPERTIES LABELS long RESOURCE_LOCK openai)

if(BIFRONS_SANITIZE STREQUAL "")
  # Completions in the shells that there are, manual pages under the lints that there are.
  add_test(NAME documents COMMAND bash ${CMAKE_CURRENT_SOURCE_DIR}/documents.sh $<TARGET_FILE:bifrons> ${PROJECT_SOURCE_DIR})
  add_test(NAME install COMMAND bash ${CMAKE_CURRENT_SOURCE_DIR}/install.sh ${CMAKE_BINARY_DIR})
  add_test(NAME deb COMMAND bash ${CMAKE_CURRENT_SOURCE_DIR}/deb.sh ${PROJECT_SOURCE_DIR} ${CMAKE_BINARY_DIR})
  set_tests_properties(deb PROPERTIES LABELS long RUN_SERIAL TRUE TIMEOUT 3600)
endif()

# samples/cluster, for real where a machine alone can: Slurm, Ray, the container file, the Kubernetes file's pods.
set(KEPT ${CMAKE_CURRENT_BINARY_DIR}/environments)  # of Python, made by the first run
add_test(NAME slurm COMMAND bash ${CMAKE_CURRENT_SOURCE_DIR}/slurm.sh $<TARGET_FILE:bifrons>)
add_test(NAME ray COMMAND bash ${CMAKE_CURRENT_SOURCE_DIR}/ray.sh $<TARGET_FILE:bifrons> ${KEPT})
add_test(NAME kubernetes COMMAND bash ${CMAKE_CURRENT_SOURCE_DIR}/kubernetes.sh $<TARGET_FILE:bifrons> ${KEPT})
add_test(NAME containerfile COMMAND bash ${CMAKE_CURRENT_SOURCE_DIR}/containerfile.sh)
set_tests_properties(slurm ray kubernetes containerfile PROPERTIES LABELS long RUN_SERIAL TRUE TIMEOUT 3600)

if(BIFRONS_SANITIZE STREQUAL "")
  add_test(NAME runtime_packages COMMAND bash ${CMAKE_CURRENT_SOURCE_DIR}/runtime_packages.sh $<TARGET_FILE:bifrons>)
  add_test(NAME format COMMAND bash ${CMAKE_CURRENT_SOURCE_DIR}/format.sh)
  set_tests_properties(runtime_packages format PROPERTIES SKIP_RETURN_CODE 77)
endif()

# The two decoders as a build without their libraries has them; not linked to the engine, which has the others.
add_executable(without_photo_libraries without_photo_libraries.cpp ${PROJECT_SOURCE_DIR}/vision/image_heif.cpp
  ${PROJECT_SOURCE_DIR}/vision/image_tiff.cpp ${PROJECT_SOURCE_DIR}/vision/iso_media.cpp
  ${PROJECT_SOURCE_DIR}/vision/coded_size.cpp)
target_include_directories(without_photo_libraries PRIVATE ${PROJECT_SOURCE_DIR})
target_link_libraries(without_photo_libraries PRIVATE catch_main)
target_compile_definitions(without_photo_libraries PRIVATE BIFRONS_TEST_DIR="${CMAKE_CURRENT_SOURCE_DIR}")
add_test(NAME without_photo_libraries COMMAND without_photo_libraries)
