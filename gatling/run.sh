#!/bin/sh
set -eu

usage() {
  cat <<'END'
Usage: gatling/run.sh [GATLING OPTION...]   build what changed, then run Gatling
       gatling/run.sh --build               only build

Runs PelejaSimulation unless -s CLASS says otherwise. Options of Gatling that are of use here:
  -s CLASS       the simulation to run
  -rf FOLDER     where results go; a folder of their own is made in it (gatling/target/results)
  -rsf FOLDER    where a simulation finds its TSV files (gatling/resources, where `cargo arena payloads` puts them)
  -nr            no HTML report

Environment:
  PELEJA_...     parameters of PelejaSimulation, told in gatling/src/main/scala/PelejaSimulation.scala
  SIMULATIONS    folder with simulations to build instead of gatling/src/main/scala
  OUTPUT         folder for what is built (gatling/target)
  JAVA_OPTS      more options for Java, after ours

Building needs Maven and a JDK, 17 or later; running what is built needs only Java.
END
}

here=$(cd "$(dirname "$0")" && pwd)
simulations=${SIMULATIONS:-$here/src/main/scala}
output=${OUTPUT:-$here/target}
built=$output/built

build() {
  if [ -e "$built" ] && [ -d "$here/target/lib" ] &&
    [ -z "$(find "$here/run.sh" "$here/pom.xml" "$here/src/main/resources" "$simulations" -newer "$built" -print -quit)" ]; then
    return
  fi
  mkdir -p "$output"
  touch "$output/started"
  rm -rf "$output"/classes*
  mvn --batch-mode --quiet -Dstyle.color=never --file "$here/pom.xml" -Dsimulations="$simulations" -Doutput="$output" compile >&2
  mv "$output/started" "$built"
}

case "${1-}" in
  -h | --help) usage; exit ;;
  --build) build; exit ;;
esac

build

for default in "-s PelejaSimulation" "-rf $here/target/results" "-rsf $here/resources"; do
  case " $* " in
    *" ${default%% *} "*) ;;
    *) set -- "${default%% *}" "${default#* }" "$@" ;;
  esac
done

# Every user has a connection of its own.
ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -Hn)"

# One request before the run spares the first users some 300 ms that are Gatling's own; by default it goes to gatling.io.
warm_up=${PELEJA_BASE_URL:-http://localhost:9999}/health

# The parallel collector takes a fifth less CPU than the serial one here, and a quarter less than G1.
exec java \
  -Xms1g -Xmx1g -XX:+UseParallelGC \
  -Dgatling.http.warmUpUrl="$warm_up" \
  -Djava.util.prefs.userRoot="$output" \
  ${JAVA_OPTS-} \
  -cp "$output/classes:$here/target/lib/*" \
  io.gatling.app.Gatling -bf "$output/classes" "$@"
