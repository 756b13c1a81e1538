import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.sqlite.SQLiteConnection;
import org.sqlite.SQLiteException;

/** A Java host: sqlite-jdbc. Arguments: database, library. What it answers: tests/hosts/drivers.py. */
public class Driver {
  static String database;
  static String library;
  static BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
  static Map<String, Connection> connections = new HashMap<>();

  public static void main(String[] arguments) throws Exception {
    database = arguments[0];
    library = arguments[1];
    Gson gson = new GsonBuilder().serializeNulls().disableHtmlEscaping().create();
    PrintStream answers = new PrintStream(System.out, true, "UTF-8");
    for (String line; (line = lines.readLine()) != null; ) {
      Map<String, Object> answer = new HashMap<>();
      try {
        answer.put("rows", answer(gson.fromJson(line, JsonObject.class)));
      } catch (SQLException error) {
        answer.put("error", error.getMessage());
        if (error instanceof SQLiteException typed) {
          answer.put("code", typed.getResultCode().code);
        }
      }
      answers.println(gson.toJson(answer));
    }
  }

  static List<List<Object>> answer(JsonObject asked) throws Exception {
    if (asked.has("threads")) {
      return List.of(List.of(trips(asked)));
    }
    String on = asked.get("on").getAsString();
    if (asked.has("close")) {
      connections.remove(on).close();
      return List.of();
    }
    if (!connections.containsKey(on)) {
      connections.put(on, connect());
    }
    try (PreparedStatement statement = connections.get(on).prepareStatement(asked.get("sql").getAsString())) {
      int number = 0;
      for (JsonElement value : asked.getAsJsonArray("parameters")) {
        bind(statement, ++number, value);
      }
      Thread reader = new Thread(() -> {
        try {
          lines.readLine();
          statement.cancel();
        } catch (Exception error) {
          throw new RuntimeException(error);
        }
      });
      if (asked.has("interruptible")) {
        reader.start();
      }
      try {
        return rows(statement);
      } finally {
        reader.join();
      }
    }
  }

  static Connection connect() throws SQLException {
    Properties properties = new Properties();
    properties.setProperty("enable_load_extension", "true");
    Connection connection = DriverManager.getConnection("jdbc:sqlite:" + database, properties);
    try (PreparedStatement load = connection.prepareStatement("SELECT load_extension(?)")) {
      load.setString(1, library);
      load.execute();
      ((SQLiteConnection) connection).getDatabase().enable_load_extension(false);
    } catch (SQLException error) {
      connection.close();
      throw error;
    }
    return connection;
  }

  static void bind(PreparedStatement statement, int number, JsonElement value) throws SQLException {
    if (value.isJsonNull()) {
      statement.setObject(number, null);
    } else if (value.isJsonObject()) {
      statement.setBytes(number, HexFormat.of().parseHex(value.getAsJsonObject().get("blob").getAsString()));
    } else if (value.getAsJsonPrimitive().isString()) {
      statement.setString(number, value.getAsString());
    } else if (value.getAsString().contains(".")) {
      statement.setDouble(number, value.getAsDouble());
    } else {
      statement.setLong(number, value.getAsLong());
    }
  }

  static List<List<Object>> rows(PreparedStatement statement) throws SQLException {
    List<List<Object>> rows = new ArrayList<>();
    if (!statement.execute()) {
      return rows;
    }
    try (ResultSet found = statement.getResultSet()) {
      int columns = found.getMetaData().getColumnCount();
      while (found.next()) {
        List<Object> row = new ArrayList<>();
        for (int column = 1; column <= columns; column++) {
          Object value = found.getObject(column);
          row.add(value instanceof byte[] bytes ? Map.of("blob", HexFormat.of().formatHex(bytes)) : value);
        }
        rows.add(row);
      }
    }
    return rows;
  }

  /** How many texts come back as they went, on a connection for each thread. */
  static int trips(JsonObject asked) throws Exception {
    ExecutorService threads = Executors.newFixedThreadPool(asked.get("threads").getAsInt());
    List<Future<Integer>> results = new ArrayList<>();
    for (int thread = 0; thread < asked.get("threads").getAsInt(); thread++) {
      String own = "thread " + thread + " turn ";
      results.add(threads.submit(() -> {
        int right = 0;
        try (Connection connection = connect();
            PreparedStatement trip = connection.prepareStatement(asked.get("sql").getAsString())) {
          for (int turn = 0; turn < asked.get("times").getAsInt(); turn++) {
            trip.setString(1, own + turn);
            try (ResultSet row = trip.executeQuery()) {
              right += row.getString(1).equals(own + turn) ? 1 : 0;
            }
          }
        }
        return right;
      }));
    }
    threads.shutdown();
    int right = 0;
    for (Future<Integer> result : results) {
      right += result.get();
    }
    return right;
  }
}
