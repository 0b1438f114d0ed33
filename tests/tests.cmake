# Tests that are not plain Catch2 programs, and properties of those that are.

# Row ops: ops_rows_test itself takes the best instruction set; oneDNN's is chosen once per process, so each of
# the lesser ones is a run of its own.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  foreach(isa baseline avx2)
    add_test(NAME ops_rows_test_${isa} COMMAND ops_rows_test)
    set_tests_properties(ops_rows_test_${isa} PROPERTIES ENVIRONMENT BIFRONS_TEST_ISA=${isa})
  endforeach()
endif()
set_tests_properties(thread_pool_test PROPERTIES LABELS tsan)
