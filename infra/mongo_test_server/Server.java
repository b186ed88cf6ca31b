import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.wire.message.MongoMessage;
import io.netty.channel.Channel;
import java.util.List;
import java.util.Set;

/**
 * A MongoDB-protocol server for tests, on loopback, whose data survive "kill -9".
 *
 * <p>java -cp 'JARS/*' Server.java PORT DATA_FILE; it prints "ready PORT" when it takes connections.
 */
public class Server {
    private static final Set<String> WRITES =
            Set.of("insert", "update", "delete", "findAndModify", "findandmodify", "createIndexes", "dropIndexes", "create", "drop", "dropDatabase");

    /** Drivers give a server up that leaves these unanswered, so they must not wait behind a long query. */
    private static final Set<String> SIGNS_OF_LIFE = Set.of("hello", "isMaster", "ismaster", "ping");

    /**
     * Two promises that the backend does not keep by itself. It writes to its file once a second, so an acknowledged write could be lost.
     * And it answers with the very objects that it keeps, so an answer on its way out shows what others change meanwhile.
     */
    private static final class HonestBackend extends H2Backend {
        HonestBackend(String file) {
            super(file);
            // Space of replaced pages is used again at once: otherwise the file grows by megabytes a second.
            getMvStore().setRetentionTime(0);
        }

        @Override
        public Document handleMessage(MongoMessage message) {
            String command = message.getDocument().keySet().iterator().next();
            if (SIGNS_OF_LIFE.contains(command)) {
                return super.handleMessage(message);
            }
            synchronized (this) {
                return settled(super.handleMessage(message), command);
            }
        }

        @Override
        public Document handleCommand(Channel channel, String database, String command, Document query) {
            if (SIGNS_OF_LIFE.contains(command)) {
                return super.handleCommand(channel, database, command, query);
            }
            synchronized (this) {
                return settled(super.handleCommand(channel, database, command, query), command);
            }
        }

        private Document settled(Document answer, String command) {
            if (WRITES.contains(command)) {
                commit();
            }
            return answer.cloneDeeply();
        }
    }

    /** The server's own idea of its age is too low for current drivers. */
    private static final class Version implements MongoVersion {
        @Override
        public List<Integer> getVersionArray() {
            return List.of(5, 0, 0);
        }

        @Override
        public int getWireVersion() {
            return 13;
        }
    }

    public static void main(String[] args) {
        int port = Integer.parseInt(args[0]);
        HonestBackend backend = new HonestBackend(args[1]);
        backend.version(new Version());
        MongoServer server = new MongoServer(backend);
        Runtime.getRuntime().addShutdownHook(new Thread(server::shutdownNow));
        server.bind("127.0.0.1", port);
        System.out.println("ready " + server.getLocalAddress().getPort());
    }
}
