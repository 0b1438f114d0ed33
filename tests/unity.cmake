# For builds that are made once, such as CI's and those with sanitizers: eight files of a folder are compiled as one, which
# reads the headers once and takes half the time. So no two files of these folders may have different things of one name in their
# unnamed namespaces.
option(BIFRONS_UNITY_BUILD "Compile several files as one" OFF)

# group_by_folder(TARGET…): says which sources of the targets go together. Those with options of their own stay alone.
function(group_by_folder)
  foreach(target ${ARGN})
    set_target_properties(${target} PROPERTIES UNITY_BUILD ${BIFRONS_UNITY_BUILD} UNITY_BUILD_MODE GROUP)
    get_target_property(sources ${target} SOURCES)
    foreach(source ${sources})
      if(NOT source MATCHES "/(src/(base|model|model/[a-z]+|engine|jobs|hub|cli)|kernels/(ref|host|op_matrix))/[^/]+\\.cpp$")
        continue()
      endif()
      string(MAKE_C_IDENTIFIER "${CMAKE_MATCH_1}" folder)
      math(EXPR count_${folder} "0${count_${folder}} + 1")
      math(EXPR group "(${count_${folder}} - 1) / 8")
      set_source_files_properties(${source} PROPERTIES UNITY_GROUP ${folder}_${group})
    endforeach()
  endforeach()
endfunction()
