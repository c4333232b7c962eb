# make install and make deb: the binary, its manual page, completions, the service and an example of its file. The demo
# model and the dashboard are inside the binary.
include(GNUInstallDirs)
set(CMAKE_SKIP_INSTALL_ALL_DEPENDENCY ON)  # tests and benchmarks are not installed, so need not be built
set(MILLRACE_PACKAGE ${CMAKE_BINARY_DIR}/package)

# What the binary writes of itself, so it cannot go stale.
set(made)
foreach(page "manual:millrace.1" "completion bash:millrace.bash" "completion zsh:_millrace" "completion fish:millrace.fish")
  string(REPLACE ":" ";" page ${page})
  list(GET page 0 verb)
  list(GET page 1 name)
  separate_arguments(verb)
  add_custom_command(OUTPUT ${MILLRACE_PACKAGE}/${name} DEPENDS millrace VERBATIM
                     COMMAND ${CMAKE_COMMAND} -E make_directory ${MILLRACE_PACKAGE}
                     COMMAND millrace ${verb} > ${MILLRACE_PACKAGE}/${name})
  list(APPEND made ${MILLRACE_PACKAGE}/${name})
endforeach()
add_custom_command(OUTPUT ${MILLRACE_PACKAGE}/millrace.1.gz DEPENDS ${MILLRACE_PACKAGE}/millrace.1
                   COMMAND gzip -9nkf ${MILLRACE_PACKAGE}/millrace.1)
set(all)
if(MILLRACE_BUILD_TESTS AND NOT MILLRACE_SANITIZE)
  set(all ALL)  # package_test looks at them
endif()
add_custom_target(package_files ${all} DEPENDS ${made} ${MILLRACE_PACKAGE}/millrace.1.gz)

configure_file(${PROJECT_SOURCE_DIR}/deploy/systemd/millrace.service ${MILLRACE_PACKAGE}/millrace.service @ONLY)

install(TARGETS millrace RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(FILES ${MILLRACE_PACKAGE}/millrace.1.gz DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${MILLRACE_PACKAGE}/millrace.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME millrace)
install(FILES ${MILLRACE_PACKAGE}/_millrace DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions)
install(FILES ${MILLRACE_PACKAGE}/millrace.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
install(FILES ${MILLRACE_PACKAGE}/millrace.service DESTINATION lib/systemd/system)
install(FILES ${PROJECT_SOURCE_DIR}/deploy/systemd/millrace.sysusers DESTINATION lib/sysusers.d RENAME millrace.conf)
install(FILES ${PROJECT_SOURCE_DIR}/deploy/millrace.toml DESTINATION ${CMAKE_INSTALL_FULL_SYSCONFDIR}/millrace)

# The Debian package: what Debian's policy wants beside the files above.
find_program(DPKG_DEB dpkg-deb)
if(NOT DPKG_DEB)
  install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
  return()
endif()
set(MILLRACE_MAINTAINER "Millrace <millrace@localhost>" CACHE STRING "Whom the Debian package names: Name <address>")
string(TIMESTAMP MILLRACE_CHANGELOG_DATE "%a, %d %b %Y %H:%M:%S +0000" UTC)
configure_file(${PROJECT_SOURCE_DIR}/deploy/debian/changelog.in ${MILLRACE_PACKAGE}/changelog @ONLY)
execute_process(COMMAND gzip -9nkf ${MILLRACE_PACKAGE}/changelog)
install(FILES ${PROJECT_SOURCE_DIR}/deploy/debian/copyright DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES ${MILLRACE_PACKAGE}/changelog.gz DESTINATION ${CMAKE_INSTALL_DOCDIR})

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME millrace)
set(CPACK_PACKAGE_CONTACT "${MILLRACE_MAINTAINER}")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "inference server for GGUF language models")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
    "Serves GGUF models over the OpenAI API on CPUs, with a small demo model and a
dashboard built in, and measures what each of its optimisations is worth.")
set(CPACK_SET_DESTDIR ON)  # and the prefix is the build's
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS passwd)
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS poppler-utils)  # millrace index reads PDF with pdftotext
file(WRITE ${MILLRACE_PACKAGE}/conffiles "${CMAKE_INSTALL_FULL_SYSCONFDIR}/millrace/millrace.toml\n")
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA
    ${MILLRACE_PACKAGE}/conffiles ${PROJECT_SOURCE_DIR}/deploy/debian/postinst ${PROJECT_SOURCE_DIR}/deploy/debian/prerm
    ${PROJECT_SOURCE_DIR}/deploy/debian/postrm)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
include(CPack)
