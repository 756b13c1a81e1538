import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/** A Java application of user 1: writes and reads the journal through sqlite-jdbc. */
public class Journal {
  static final int THREADS = 4;
  static final int ENTRIES = 100;

  /** Arguments: the database, the extension, the text to write. Prints what it read, a line for each step. */
  public static void main(String[] arguments) throws Exception {
    String database = arguments[0], extension = arguments[1], text = arguments[2];
    try (Connection connection = connect(database, extension)) {
      try (PreparedStatement seal = connection.prepareStatement(
          "INSERT INTO journal_entries (uid, user_id, key_uid, token, created_at) SELECT ?, 1, key_uid, token, 0 FROM journal_seal(?, ?)")) {
        seal.setString(1, "oseh_je_long");
        seal.setLong(2, 1);
        seal.setString(3, text);
        seal.executeUpdate();
        seal.setString(1, "oseh_je_double");
        seal.setDouble(2, 1.0);
        seal.setBytes(3, text.getBytes("UTF-8"));
        seal.executeUpdate();
      }
      try (Statement read = connection.createStatement();
          ResultSet rows = read.executeQuery("SELECT uid, journal_decrypt(user_id, key_uid, token) FROM journal_entries ORDER BY id")) {
        while (rows.next()) {
          System.out.println(rows.getString(1) + " " + rows.getString(2));
        }
      }
      try (PreparedStatement wrong = connection.prepareStatement("SELECT journal_decrypt(?, NULL, 'gAAA')")) {
        wrong.setLong(1, 1);
        wrong.executeQuery();
      } catch (SQLException error) {
        System.out.println(error.getMessage());
      }
    } catch (SQLException error) {
      System.out.println(error.getMessage());
      System.exit(3);
    }
    System.out.println("read back by threads: " + roundTrips(database, extension, text));
  }

  static Connection connect(String database, String extension) throws SQLException {
    Properties properties = new Properties();
    properties.setProperty("enable_load_extension", "true");
    Connection connection = DriverManager.getConnection("jdbc:sqlite:" + database, properties);
    try (PreparedStatement load = connection.prepareStatement("SELECT load_extension(?)")) {
      load.setString(1, extension);
      load.execute();
    }
    return connection;
  }

  static int roundTrips(String database, String extension, String text) throws Exception {
    ExecutorService threads = Executors.newFixedThreadPool(THREADS);
    List<Future<Integer>> results = new ArrayList<>();
    for (int thread = 0; thread < THREADS; thread++) {
      String own = text + thread;
      Callable<Integer> work = () -> {
        int right = 0;
        try (Connection connection = connect(database, extension);
            PreparedStatement trip = connection.prepareStatement("SELECT journal_decrypt(1, NULL, journal_encrypt(1, ?))")) {
          for (int entry = 0; entry < ENTRIES; entry++) {
            trip.setString(1, own + entry);
            try (ResultSet row = trip.executeQuery()) {
              right += row.getString(1).equals(own + entry) ? 1 : 0;
            }
          }
        }
        return right;
      };
      results.add(threads.submit(work));
    }
    int right = 0;
    for (Future<Integer> result : results) {
      right += result.get();
    }
    threads.shutdown();
    return right;
  }
}
