//! Both daemons' pages in a real browser: what it finds, what it asks for, how it looks.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::ensure;
use testkit::get;

use super::browser::Browser;
use super::stack::Stack;
use super::{check, eventually};
use crate::command::{run, sh, target};

const LARGEST_PAGE: usize = 25_000;
/// What a page must not cause.
const COMPLAINTS: [&str; 3] = ["Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"];

pub(super) fn check_pages(stack: &Stack) -> anyhow::Result<()> {
    // For people to look at.
    let pictures = target()?.join("containers");
    fs::create_dir_all(&pictures)?;
    let mut browser = check("Chromium starts", Browser::start)?;
    eventually(
        "the client's chart is full",
        || Ok(stack.client_count("cliente_numbers_total", &[])? >= 100),
    )?;
    let newest = "[...document.querySelectorAll('.chart rect title, .chart circle title')].pop().textContent";
    check("the client's chart shows a hundred rounds, and goes on by itself", || {
        opens(&mut browser, stack.cliente, newest)?;
        let rounds = "document.querySelectorAll('.chart rect title, .chart circle title').length";
        let rounds = browser.evaluate(rounds)?;
        ensure!(rounds == 100, "{rounds} rounds");
        Ok(())
    })?;
    let numbers = "document.querySelectorAll('.figures dd')[2].textContent";
    check("the server's page counts by itself", || opens(&mut browser, stack.servidor, numbers))?;
    for (name, address) in [("servidor", stack.servidor), ("cliente", stack.cliente)] {
        let size = get(address, "/")?.len();
        check(&format!("{name}'s page is small: {size} bytes"), || {
            ensure!(size < LARGEST_PAGE, "{size} bytes");
            Ok(())
        })?;
        let what = format!("{name}'s page fits, light and dark, also 390 pixels wide");
        check(&format!("{what} (pictures in {})", pictures.display()), || {
            for (width, scheme) in [(1000, "light"), (1000, "dark"), (390, "light"), (390, "dark")] {
                browser.look_like(width, scheme)?;
                fits(&mut browser, address, width, scheme)?;
                let encoded = pictures.join(format!("{name}-{width}-{scheme}.png"));
                decode(&browser.screenshot()?, &encoded)?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Opens a page, sees `changing` change, and finds that there were no complaints, and no requests for anything elsewhere.
fn opens(browser: &mut Browser, address: SocketAddr, changing: &str) -> anyhow::Result<()> {
    let url = format!("http://{address}/");
    browser.open(&url)?;
    let before = browser.evaluate(changing)?;
    eventually("the page changes", || Ok(browser.evaluate(changing)? != before))?;
    let mut requests = 0;
    for event in browser.events() {
        let method = event["method"].as_str().unwrap_or_default();
        ensure!(!COMPLAINTS.contains(&method), "{event}");
        if method == "Network.requestWillBeSent" {
            let requested = event["params"]["request"]["url"].as_str().unwrap_or_default();
            ensure!(requested == url || requested == "data:,", "it asks for {requested}");
            requests += 1;
        }
    }
    ensure!(requests > 1, "the browser has reported only {requests} requests");
    Ok(())
}

fn fits(browser: &mut Browser, address: SocketAddr, width: u32, scheme: &str) -> anyhow::Result<()> {
    browser.open(&format!("http://{address}/"))?;
    let found = browser.evaluate("document.documentElement.scrollWidth")?;
    ensure!(found == width, "at {width} pixels the page is {found} wide");
    let background = browser.evaluate("getComputedStyle(document.body).backgroundColor")?;
    let is_dark = background == "rgb(21, 21, 21)";
    ensure!(is_dark == (scheme == "dark"), "in the {scheme} scheme the background is {background}");
    Ok(())
}

/// Writes a picture that comes in Base64.
fn decode(picture: &str, file: &Path) -> anyhow::Result<()> {
    let encoded = file.with_extension("base64");
    fs::write(&encoded, picture)?;
    run(sh(r#"base64 --decode "$0" >"$1" && rm "$0""#, &[&encoded, file]))
}
