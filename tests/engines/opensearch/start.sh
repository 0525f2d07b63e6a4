#!/usr/bin/env bash
# One real OpenSearch node on 127.0.0.1. Runs in the foreground; SIGTERM closes it cleanly.
# Environment: JAVA (a Java 21+ launcher; a runtime without a compiler will do), JARS (folder that keeps what was
# downloaded, for all nodes), STATE (folder of one node),
# HTTP_PORT, TRANSPORT_PORT, HEAP, OS_EXTRA (lines appended to opensearch.yml), MVN (Maven command).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
STATE=${STATE:-$here/.state} JARS=${JARS:-$here/.state} HTTP_PORT=${HTTP_PORT:-19301} TRANSPORT_PORT=${TRANSPORT_PORT:-19401} HEAP=${HEAP:-1g}
JAVA=${JAVA:-java} MVN=${MVN:-mvn}
jars=$JARS/jars classes=$JARS/classes
copy() { "$MVN" -q -B -f "$here/pom.xml" dependency:copy-dependencies "-DincludeScope=$1" "-DoutputDirectory=$2" >&2; }
if [ ! -e "$jars/.done" ]; then
  copy runtime "$jars"
  copy provided "$JARS/ecj"
  touch "$jars/.done"
fi
if [ "$here/OsNode.java" -nt "$classes/OsNode.class" ]; then
  "$JAVA" -jar "$JARS"/ecj/ecj-*.jar -21 -proc:none -nowarn -cp "$(printf '%s:' "$jars"/*.jar)" -d "$classes" "$here/OsNode.java" >&2
fi
conf=$STATE/conf
mkdir -p "$conf"
cp "$here/conf/log4j2.properties" "$conf/"
{ cat "$here/conf/opensearch.yml"; echo "transport.port: $TRANSPORT_PORT"; printf '%b\n' "${OS_EXTRA:-}"; } > "$conf/opensearch.yml"
exec "$JAVA" "-Xms$HEAP" "-Xmx$HEAP" -XX:+UseSerialGC -XX:-UsePerfData --enable-native-access=ALL-UNNAMED \
  -Djava.awt.headless=true \
  -cp "$classes:$jars/*" OsNode "$STATE/data" "$conf" "$HTTP_PORT" </dev/null
