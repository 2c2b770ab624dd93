# What the page is made of besides its text, as C arrays: Chart.js from the distribution's package,
# our own script and style. Run by itself (cmake -D FROM=... -D NAME=... -D TO=... -P), it turns one
# file into one array.
if(CMAKE_SCRIPT_MODE_FILE)
  file(READ ${FROM} bytes HEX)
  string(REGEX REPLACE "(..)" "'\\\\x\\1'," bytes "${bytes}")
  file(WRITE ${TO} "extern const char ${NAME}[];\nconst char ${NAME}[] = {\n${bytes}0};\n")
  return()
endif()

find_file(MPTUNE_CHART_JS NAMES chart.min.js Chart.min.js
          PATHS /usr/share/javascript/chart.js /usr/share/nodejs/chart.js/dist
          DOC "Chart.js 3 or 4, minified")
if(NOT MPTUNE_CHART_JS)
  message(FATAL_ERROR "Chart.js not found: install the package libjs-chart.js, or give the file "
                      "with -D MPTUNE_CHART_JS=/path/to/chart.min.js")
endif()
file(READ ${MPTUNE_CHART_JS} MPTUNE_CHART_HEAD LIMIT 500)
if(NOT MPTUNE_CHART_HEAD MATCHES "Chart.js v[34]\\.")
  message(FATAL_ERROR "${MPTUNE_CHART_JS} is not Chart.js 3 or 4; install the package "
                      "libjs-chart.js, or give the file with -D MPTUNE_CHART_JS=/path/to/chart.min.js")
endif()

function(mptune_embed from name)
  set(to ${CMAKE_BINARY_DIR}/assets/${name}.c)
  add_custom_command(OUTPUT ${to} VERBATIM
    COMMAND ${CMAKE_COMMAND} -D FROM=${from} -D NAME=${name} -D TO=${to}
            -P ${CMAKE_SOURCE_DIR}/src/report/assets.cmake
    DEPENDS ${from} ${CMAKE_SOURCE_DIR}/src/report/assets.cmake)
  target_sources(mptune_command PRIVATE ${to})
endfunction()
mptune_embed(${MPTUNE_CHART_JS} report_chart_js)
mptune_embed(${CMAKE_SOURCE_DIR}/src/report/chart-licence.txt report_chart_licence)
mptune_embed(${CMAKE_SOURCE_DIR}/src/report/page.js report_page_js)
mptune_embed(${CMAKE_SOURCE_DIR}/src/report/page.css report_page_css)
