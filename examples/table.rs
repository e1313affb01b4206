//! A table that several programs share: each run is one node.
//!
//! ```sh
//! cargo run -p libpeernet --example table -- 127.0.0.1:4444
//! cargo run -p libpeernet --example table -- 127.0.0.1:4445 127.0.0.1:4444
//! ```
//!
//! Lines like `colour = green` set a key, `colour =` takes its value away. What anyone changes is shown.

// A program for people prints.
#![allow(clippy::print_stdout)]

use std::io::{self, BufRead};

use peernet::{Error, Event, SyncTable, Value};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let mut args = std::env::args().skip(1);
    let listen = args.next().unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let table = SyncTable::builder().listen(listen);
    // Those who are there already; whoever comes later may name us.
    let table = args.fold(table, |table, address| table.connect(address)).open().await?;
    println!("this is {} at {}", table.id(), table.address());

    let mut changes = table.watch();
    let show_changes = async {
        loop {
            match changes.recv().await {
                Ok(change) => println!("{} (by {})", line(&change.key, change.value), change.owner),
                // Too many to have been shown; what is there now is what counts.
                Err(Error::Lagged { .. }) => {
                    for (key, value) in table.items() {
                        println!("{}", line(&key, Some(value)));
                    }
                }
                Err(_) => return,
            }
        }
    };
    let show_losses = async {
        while let Some(event) = table.next_event().await {
            if let Event::Superseded { key, by, .. } = event {
                println!("{}: {by} was faster", String::from_utf8_lossy(&key));
            }
        }
    };
    let obey = async {
        let (sender, mut lines) = tokio::sync::mpsc::channel(16);
        std::thread::spawn(move || {
            for line in io::stdin().lock().lines().map_while(Result::ok) {
                if sender.blocking_send(line).is_err() {
                    break;
                }
            }
        });
        while let Some(line) = lines.recv().await {
            let Some((key, value)) = line.split_once('=') else { continue };
            let done = match (key.trim(), value.trim()) {
                (key, "") => table.delete(key).await.map(drop),
                (key, value) => table.set(key, value).await.map(drop),
            };
            // Mostly that the key is somebody else's for now.
            if let Err(error) = done {
                println!("not done: {error}");
            }
        }
        table.close().await;
    };
    tokio::join!(show_changes, show_losses, obey);
    Ok(())
}

fn line(key: &[u8], value: Option<Value>) -> String {
    let key = String::from_utf8_lossy(key);
    match value {
        Some(Value::Str(text)) => format!("{key} = {text}"),
        Some(value) => format!("{key} = {value:?}"),
        None => format!("{key} is gone"),
    }
}
