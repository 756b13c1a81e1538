"""Ten thousand connections, opened, used and closed in eight threads of one process."""


def test_ten_thousand_connections_in_eight_threads(database, key_store, child):
    for user in range(1, 21):
        database.add_user(user)
        database.add_key(user, f"oseh_ujmk_{user}")
        key_store.write(f"oseh_ujmk_{user}")
    said = child("""
        path = connection.execute("SELECT file FROM pragma_database_list").fetchone()[0]
        library = next(line.split()[-1] for line in open("/proc/self/maps") if "journal_crypt" in line)
        connection.close()
        wrong, resident = [], []

        def memory():
            return int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmRSS")))

        def work(thread):
            for number in range(1250):
                one = sqlite3.connect(path, isolation_level=None)
                one.enable_load_extension(True)
                one.load_extension(library)
                user = (thread * 7 + number) % 20 + 1
                text = f"{thread} {number}"
                found = one.execute("SELECT journal_decrypt(?1, NULL, journal_encrypt(?1, ?2))", (user, text)).fetchone()[0]
                if found != text:
                    wrong.append((found, text))
                if number % 100 == 50:
                    one.execute("SELECT journal_evict()").fetchone()
                one.close()
                if thread == 0 and number in (300, 1249):
                    resident.append(memory())

        threads = [threading.Thread(target=work, args=[thread]) for thread in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        say(wrong, resident)
    """, timeout=300)
    [[wrong, [early, late]]] = said
    assert wrong == []
    assert late - early < 4096, f"{late - early} KiB more after a thousand connections"
