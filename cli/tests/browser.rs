//! The page of `examples/browser` in a headless Chromium, beside `peernet node`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use serde_json::{Value as Json, json};
use support::{Node, Talk, peernet};

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/browser")
}

/// Where Chromium is; it is installed if it is not there and it may.
fn chromium() -> &'static str {
    static FOUND: OnceLock<String> = OnceLock::new();
    FOUND.get_or_init(|| {
        let output = Command::new(example().join("chromium")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    })
}

/// Serves the page; returns its origin.
fn serve() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let page = fs::read_to_string(example().join("index.html")).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // A request fits, and what it asks for is not looked at.
            let _ = stream.read(&mut [0; 4096]);
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                page.len()
            );
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(page.as_bytes()));
        }
    });
    origin
}

fn node(encryption: &str, options: &[&str]) -> Node {
    Node::spawn(peernet().args(["node", "--json", "--encryption", encryption]).args(options))
}

/// A Chromium that shows the page; its lines are what the page shows, among others.
struct Browser {
    talk: Talk,
    profile: PathBuf,
}

impl Browser {
    fn open(page: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("chromium-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let profile = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&profile).unwrap();
        let mut command = Command::new("sh");
        // Both its outputs as one, line by line.
        command.args(["-c", "exec \"$0\" \"$@\" 2>&1", chromium()]);
        // Without a sandbox because tests may run as root, and without what it would fetch by itself.
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]);
        command.args(["--no-first-run", "--disable-background-networking", "--disable-component-update"]);
        command.args(["--disable-extensions", "--disable-sync", "--remote-debugging-port=0"]);
        // Nobody vouches for the certificate of a wss node that was given none.
        command.arg("--ignore-certificate-errors");
        // What the page writes to its console comes with the log.
        command.args(["--enable-logging=stderr", "--v=0"]);
        command.arg(format!("--user-data-dir={}", profile.display())).arg(page);
        Self { talk: Talk::start(&mut command), profile }
    }

    /// Waits until the page shows a line with this in it.
    fn shows(&mut self, text: &str) {
        self.talk.line(&format!("the page to show {text:?}"), |line| {
            line.contains("CONSOLE") && line.contains(text)
        });
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.talk.signal("KILL");
        if !thread::panicking() {
            // Its other processes go with it, and write until then.
            self.talk.finish();
        }
        let _ = fs::remove_dir_all(&self.profile);
    }
}

/// The page joins, sends, and shows what it receives, to and from a node that is not the one it is joined
/// to, as a broadcast and in private.
fn the_page_sends_and_receives(encryption: &str) {
    let origin = serve();
    let mut gate = node(encryption, &["--origin", &origin]);
    let mut other = node(encryption, &[]);
    other.join(&mut gate);

    let address = &gate.address;
    let mut page = Browser::open(&format!(
        "{origin}/?node={encryption}://{address}&say=hello%20from%20the%20page%20%C3%A4"
    ));
    page.shows("joined");
    let heard = other.message();
    assert_eq!((&heard["kind"], &heard["payload"]), (&json!("broadcast"), &json!(["hello from the page ä"])));
    let sender = heard["sender"].as_str().unwrap();
    assert!(gate.peers().iter().any(|peer| peer == sender));

    let values = json!(["hello page", 7, -1, 70000, 0.5, {"$bin": "6869"}, "ü".repeat(200), null]);
    other.must(json!({"do": "broadcast", "payload": values}));
    page.shows(&format!("{}: hello page 7 -1 70000 0.5 hi {} null", &other.id[..8], "ü".repeat(200)));
    let heard: Json = gate.wait("the page's message", |event| event["event"] == "message");
    gate.must(json!({"do": "reply", "to": heard["id"], "payload": ["only for you"]}));
    page.shows(&format!("{}: only for you", &gate.id[..8]));
    drop(page);
    gate.disconnected(sender);
}

#[test]
fn over_ws() {
    the_page_sends_and_receives("ws");
}

#[test]
fn over_wss() {
    the_page_sends_and_receives("wss");
}

/// A page whose origin was not named gets no link.
#[test]
fn a_page_of_another_origin_is_refused() {
    let origin = serve();
    for options in [&["--origin", "http://127.0.0.1:1"][..], &[]] {
        let mut gate = node("ws", options);
        let mut page = Browser::open(&format!("{origin}/?node=ws://{}", gate.address));
        page.shows("no link to the node");
        assert!(gate.peers().is_empty());
    }
}
