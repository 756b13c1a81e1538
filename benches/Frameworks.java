// As frameworks.py, in Java: `Frameworks.java LIBRARY DATABASE ROUNDS` prints microseconds a row in the clear and sealed, of JDBC.
import java.sql.*;

public class Frameworks {
  static final String SEALED = "journal_try_decrypt(user_id, key_uid, token, 'journal_entries.token:' || uid)";

  public static void main(String[] arguments) throws SQLException {
    var config = new org.sqlite.SQLiteConfig();
    config.enableLoadExtension(true);
    try (Connection journal = config.createConnection("jdbc:sqlite:" + arguments[1])) {
      try (PreparedStatement load = journal.prepareStatement("SELECT load_extension(?)")) {
        load.setString(1, arguments[0]);
        load.execute();
      }
      double[] least = {Double.MAX_VALUE, Double.MAX_VALUE};
      for (int round = 0; round < Integer.parseInt(arguments[2]); round++) {
        for (int index = 0; index < 2; index++) {
          long begun = System.nanoTime();
          int count = read(journal, index == 0 ? "plain" : SEALED);
          least[index] = Math.min(least[index], (System.nanoTime() - begun) / 1000.0 / count);
          if (count != 1000) throw new IllegalStateException("not what was written");
        }
      }
      System.out.println(least[0] + " " + least[1]);
    }
  }

  static int read(Connection journal, String column) throws SQLException {
    int count = 0;
    try (PreparedStatement statement = journal.prepareStatement("SELECT id, " + column + " FROM journal_entries WHERE user_id = ?")) {
      statement.setLong(1, 1);
      for (ResultSet rows = statement.executeQuery(); rows.next(); ) {
        rows.getLong(1);
        if (rows.getString(2).length() == 101) count++;
      }
    }
    return count;
  }
}
