"""What package lists say of a release: sqlpkg.json for sqlpkg (https://sqlpkg.org), and a formula for Homebrew.

NOT RELEASED: both name a release page that does not exist yet, as the repository in Cargo.toml does not.
"""

import json

#: The parts of Go's and of Homebrew's names, by what release archives call a platform. Neither list knows musl.
SQLPKG = {
    "linux-x86_64": "linux-amd64", "linux-aarch64": "linux-arm64", "macos-x86_64": "darwin-amd64", "macos-aarch64": "darwin-arm64",
    "windows-x86_64": "windows-amd64",
}  # fmt: skip
HOMEBREW = {
    "macos-aarch64": ("on_macos", "on_arm"), "macos-x86_64": ("on_macos", "on_intel"),
    "linux-aarch64": ("on_linux", "on_arm"), "linux-x86_64": ("on_linux", "on_intel"),
}  # fmt: skip
NOT_RELEASED = "There is no release page yet: what this names cannot be downloaded."


def sqlpkg(package, archives):
    """The package's description for sqlpkg. `archives` are names by platform."""
    return json.dumps({
        "$comment": NOT_RELEASED,
        "owner": package["repository"].split("/")[-2], "name": package["name"], "version": package["version"],
        "repository": package["repository"], "license": package["license"], "description": package["description"],
        "keywords": package["keywords"],
        "assets": {
            "path": "{repository}/releases/download/v{version}",
            "files": {SQLPKG[platform]: archive for platform, archive in archives.items() if platform in SQLPKG},
        },
    }, indent=2) + "\n"  # fmt: skip


def formula(package, archives, checksum):
    """The formula for Homebrew; `checksum` gives the SHA-256 of an archive by its name."""
    page = f"{package['repository']}/releases/download/v{package['version']}"
    files = "".join(
        f"""
  {system} do
    {processor} do
      url "{page}/{archives[platform]}"
      sha256 "{checksum(archives[platform])}"
    end
  end
"""
        for platform, (system, processor) in HOMEBREW.items() if platform in archives
    )  # fmt: skip
    licences = ", ".join(f'"{licence}"' for licence in package["license"].split(" OR "))
    return f"""\
# {NOT_RELEASED}
class SqliteJournalCrypt < Formula
  desc "{package["description"]}"
  homepage "{package["repository"]}"
  version "{package["version"]}"
  license any_of: [{licences}]
{files}
  depends_on "sqlite" => :test

  def install
    (lib/"sqlite-journal-crypt").install Dir["journal_crypt.*"]
    bin.install "journal-crypt"
    man1.install Dir["man/*.1"]
    pkgshare.install "sql"
  end

  def caveats
    <<~TEXT
      In the sqlite3 shell: .load #{{opt_lib}}/sqlite-journal-crypt/journal_crypt
    TEXT
  end

  test do
    load = "SELECT load_extension('#{{lib}}/sqlite-journal-crypt/journal_crypt')"
    shell = Formula["sqlite"].opt_bin/"sqlite3"
    assert_match version.to_s, shell_output("#{{shell}} :memory: \\"#{{load}}; SELECT journal_version()\\"")
  end
end
"""
