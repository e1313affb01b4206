# A later version of the same line is as good as the one that is asked for. While the major version is 0, the minor
# one says which line it is.

set(PACKAGE_VERSION 0.1.0)

string(REGEX MATCH "^(0\\.)?[0-9]+" _peernet_line "${PACKAGE_VERSION}")
string(REGEX MATCH "^(0\\.)?[0-9]+" _peernet_wanted "${PACKAGE_FIND_VERSION}")
if("${_peernet_line}" STREQUAL "${_peernet_wanted}" AND NOT PACKAGE_VERSION VERSION_LESS PACKAGE_FIND_VERSION)
  set(PACKAGE_VERSION_COMPATIBLE TRUE)
endif()
if(PACKAGE_VERSION VERSION_EQUAL PACKAGE_FIND_VERSION)
  set(PACKAGE_VERSION_EXACT TRUE)
endif()
unset(_peernet_line)
unset(_peernet_wanted)
