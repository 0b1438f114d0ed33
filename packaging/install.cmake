# What is installed: the program and its model; for programs that embed the engine its library and header, for
# pkg-config and for find_package(bifrons). `cpack` makes a Debian package of each (bifrons, bifrons-dev).
install(TARGETS bifrons RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT program)
install(DIRECTORY assets/ DESTINATION ${CMAKE_INSTALL_DATADIR}/bifrons COMPONENT program)
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} RENAME copyright COMPONENT program)

# Completions and manual pages, of the program itself: a build for another machine cannot ask it.
if(NOT CMAKE_CROSSCOMPILING AND NOT BIFRONS_SANITIZE)
  set(DOCUMENTS ${CMAKE_CURRENT_BINARY_DIR}/documents)
  add_custom_command(TARGET bifrons POST_BUILD VERBATIM
    COMMAND sh ${PROJECT_SOURCE_DIR}/packaging/documents.sh $<TARGET_FILE:bifrons> ${DOCUMENTS})
  set(ZSH_FOLDER site-functions)
  if(CMAKE_INSTALL_PREFIX STREQUAL "/usr")
    set(ZSH_FOLDER vendor-completions)  # Debian's, for packages
  endif()
  install(FILES ${DOCUMENTS}/bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME bifrons
    COMPONENT program)
  install(FILES ${DOCUMENTS}/zsh DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/${ZSH_FOLDER} RENAME _bifrons COMPONENT program)
  install(FILES ${DOCUMENTS}/fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d RENAME bifrons.fish
    COMPONENT program)
  install(DIRECTORY ${DOCUMENTS}/man1 DESTINATION ${CMAKE_INSTALL_MANDIR} COMPONENT program)
endif()

install(TARGETS bifrons_engine ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT development)
install(FILES src/bifrons.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development)
file(RELATIVE_PATH FROM_PC_TO_PREFIX ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
configure_file(packaging/bifrons.pc.in bifrons.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/bifrons.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT development)
include(CMakePackageConfigHelpers)
configure_package_config_file(packaging/bifronsConfig.cmake.in bifronsConfig.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/bifrons)
write_basic_package_version_file(bifronsConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/bifronsConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/bifronsConfigVersion.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/bifrons COMPONENT development)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_CONTACT "bifrons authors <bifrons@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "draws pictures and answers questions about images with Janus models")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_COMPONENTS_ALL program development)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION graphics)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PROGRAM_PACKAGE_NAME bifrons)
set(CPACK_DEBIAN_PROGRAM_PACKAGE_RECOMMENDS fonts-dejavu-core)  # contact sheets have text
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME bifrons-dev)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SHLIBDEPS OFF)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS "bifrons (= ${PROJECT_VERSION}), libdnnl-dev, libssl-dev, libpcre2-dev, \
libutf8proc-dev, libpng-dev, zlib1g-dev, libjpeg-dev, libwebp-dev, pkg-config")
foreach(library heif tiff)
  string(TOUPPER ${library} found)
  if(${found}_FOUND)
    string(APPEND CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS ", lib${library}-dev")
  endif()
endforeach()
include(CPack)
