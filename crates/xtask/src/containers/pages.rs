//! Both daemons' pages in a real browser: what it finds, what it asks for, how it looks.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use anyhow::ensure;

use super::browser::Browser;
use super::engine::output_of;
use super::http::get;
use super::stack::Stack;
use super::{Checks, DEADLINE, wait_for};
use crate::command::target;

/// Where the pictures are, for people to look at.
const PICTURES: &str = "containers";
const LARGEST_PAGE: usize = 20_000;

pub(super) fn check(checks: &mut Checks, stack: &Stack) -> anyhow::Result<()> {
    let mut browser = checks.run("Chromium starts", Browser::start)?;
    let browser = &mut browser;
    wait_for("the client's chart is full", DEADLINE, || {
        Ok((stack.client_count("cliente_numbers_total", "")? >= 100).then_some(()))
    })?;
    let newest = "document.querySelector('.chart rect:last-of-type title').textContent";
    checks.run("the client's chart shows a hundred rounds, and goes on by itself", || {
        opens(browser, stack.cliente, newest)?;
        let bars = browser.evaluate("document.querySelectorAll('.chart rect').length")?;
        ensure!(bars == 100, "{bars} bars");
        Ok(())
    })?;
    let numbers = "document.querySelectorAll('.figures dd')[2].textContent";
    checks.run("the server's page counts by itself", || opens(browser, stack.servidor, numbers))?;
    for (name, address) in [("servidor", stack.servidor), ("cliente", stack.cliente)] {
        let size = get(address, "/")?.len();
        checks.run(&format!("{name}'s page is small: {size} bytes"), || {
            ensure!(size < LARGEST_PAGE, "{size} bytes");
            Ok(())
        })?;
        let what =
            format!("{name}'s page fits, light and dark, also 390 pixels wide (pictures in {PICTURES})");
        checks.run(&what, || {
            for (width, scheme) in [(1000, "light"), (1000, "dark"), (390, "light"), (390, "dark")] {
                fits(browser, name, address, width, scheme)?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Opens a page, sees `changing` change, and finds that nothing was complained of or asked for elsewhere.
fn opens(browser: &mut Browser, address: SocketAddr, changing: &str) -> anyhow::Result<()> {
    let url = format!("http://{address}/");
    browser.open(&url)?;
    let before = browser.evaluate(changing)?;
    wait_for("the page changes", DEADLINE, || Ok((browser.evaluate(changing)? != before).then_some(())))?;
    let mut asked = 0;
    for event in browser.events() {
        let complaints = ["Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"];
        let method = event["method"].as_str().unwrap_or_default();
        ensure!(!complaints.contains(&method), "{event}");
        if method == "Network.requestWillBeSent" {
            let requested = event["params"]["request"]["url"].as_str().unwrap_or_default();
            ensure!(requested == url || requested == "data:,", "it asks for {requested}");
            asked += 1;
        }
    }
    ensure!(asked > 1, "the browser has not told what it asked for");
    Ok(())
}

fn fits(
    browser: &mut Browser,
    name: &str,
    address: SocketAddr,
    width: u32,
    scheme: &str,
) -> anyhow::Result<()> {
    browser.look_like(width, scheme)?;
    browser.open(&format!("http://{address}/"))?;
    let wide = browser.evaluate("document.documentElement.scrollWidth")?;
    ensure!(wide == width, "at {width} pixels the page is {wide} wide");
    let paper = browser.evaluate("getComputedStyle(document.body).backgroundColor")?;
    let is_dark = paper.as_str().is_some_and(|colour| colour == "rgb(21, 21, 21)");
    ensure!(is_dark == (scheme == "dark"), "in the {scheme} scheme the paper is {paper}");
    let picture = browser.screenshot()?;
    let folder = target()?.join(PICTURES);
    fs::create_dir_all(&folder)?;
    let encoded = folder.join("picture.base64");
    fs::write(&encoded, picture)?;
    let mut decode = Command::new("sh");
    decode.args(["-c", r#"base64 --decode "$0" >"$1" && rm "$0""#]).arg(&encoded);
    decode.arg(folder.join(format!("{name}-{width}-{scheme}.png")));
    output_of(decode)?;
    Ok(())
}
