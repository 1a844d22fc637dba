#!/usr/bin/env python3
"""Opens the report in headless Chromium, as a reader does, and checks what they would miss.

    python3 tests/report/browser.py                        makes a report of the paper profile, and checks it
    python3 tests/report/browser.py --profile quick        the same of the quick profile
    python3 tests/report/browser.py --page report.html     checks a page that is there already
    ... --screenshots DIR                                  also leaves pictures of it, to look at

Needs Chromium and the package playwright (pip install playwright; no browser of its own). Without them it says so and
ends with code 77.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
IDS = [f"table{n}" for n in range(1, 12)] + ["fig1"] + [f"fig{n}" for n in range(4, 15)]
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
NOT_RUN = 77

# Everything that is wrong with a page at one width and in one scheme, as lines of text.
LOOK = r"""
({ids}) => {
  const wrong = [];
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const name = (element) => `<${element.tagName.toLowerCase()}> in #${element.closest('[id]')?.id}`;

  const known = all('[id]').map((element) => element.id);
  known.filter((id, at) => known.indexOf(id) !== at).forEach((id) => wrong.push(`id ${id} is there twice`));
  for (const link of all('a')) {
    const target = link.getAttribute('href') ?? '';
    if (!target.startsWith('#')) wrong.push(`link ${target} leaves the page`);
    else if (!document.getElementById(target.slice(1))) wrong.push(`link ${target} leads nowhere`);
  }

  for (const id of ids) {
    const section = document.getElementById(id);
    if (!section) { wrong.push(`${id} is missing`); continue; }
    if (!section.querySelector('h3')?.textContent.trim()) wrong.push(`${id} has no heading`);
    if (!document.querySelector(`nav a[href="#${id}"]`)) wrong.push(`${id} is not in the contents`);
    const shown = all('td, svg, img, .missing, .notes li', section).length;
    if (!shown) wrong.push(`${id} shows nothing`);
    if (id.startsWith('table') && !all('tbody tr', section).length) wrong.push(`${id} has no rows`);
  }

  for (const landmark of ['header', 'nav', 'main', 'footer', 'h1']) {
    if (all(landmark).length !== 1) wrong.push(`${all(landmark).length} of <${landmark}>`);
  }
  let level = 0;
  for (const heading of all('h1, h2, h3, h4')) {
    const next = Number(heading.tagName[1]);
    if (next > level + 1) wrong.push(`a heading of level ${next} follows one of level ${level}: ${heading.textContent}`);
    level = next;
  }
  all('th:not([scope])').forEach((cell) => wrong.push(`no scope: ${name(cell)}`));
  all('main table').filter((table) => !table.caption).forEach((table) => wrong.push(`no caption: ${name(table)}`));
  for (const chart of all('svg')) {
    const labels = (chart.getAttribute('aria-labelledby') ?? '').split(' ').map((id) => document.getElementById(id));
    if (chart.getAttribute('role') !== 'img' || labels.length !== 2 || !labels.every((label) => label?.textContent.trim()))
      wrong.push(`no title and description: ${name(chart)}`);
    const box = chart.getBoundingClientRect();
    for (const text of all('text', chart)) {
      const inner = text.getBoundingClientRect();
      if (inner.height < 8) wrong.push(`text of ${inner.height.toFixed(1)} px: ${text.textContent} ${name(chart)}`);
      if (inner.left < box.left - 2 || inner.right > box.right + 2 || inner.bottom > box.bottom + 2)
        wrong.push(`text is cut: ${text.textContent} ${name(chart)}`);
    }
  }
  for (const picture of all('img')) {
    if (!picture.alt.trim()) wrong.push(`no alt: ${name(picture)}`);
    if (!picture.src.startsWith('data:') || !picture.naturalWidth) wrong.push(`not a picture inside: ${name(picture)}`);
  }

  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  if (wide > 0) {
    const out = all('body *').find((element) => !element.closest('.scroll') && !element.closest('svg')
      && element.getBoundingClientRect().right > document.documentElement.clientWidth + 1);
    wrong.push(`the page is ${wide} px too wide${out ? `: ${name(out)} ${out.textContent.slice(0, 60)}` : ''}`);
  }

  const rgb = (colour) => (colour.match(/[\d.]+/g) ?? []).map(Number);
  const light = (colour) => {
    const [r, g, b] = rgb(colour).map((part) => part / 255).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (one, other) => {
    const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const ground = getComputedStyle(document.body).backgroundColor;
  const found = new Map();
  for (const element of all('body *')) {
    const style = getComputedStyle(element);
    const inChart = element.closest('svg');
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (inChart && element.matches('.line, .mark, .bar')) {
      const ratio = contrast(style.stroke, ground);
      if (ratio < 3) found.set(`${style.stroke} on ${ground}`, `a mark has a contrast of ${ratio.toFixed(2)}`);
    } else if (own && !element.closest('title, desc, style')) {
      const colour = inChart ? style.fill : style.color;
      const ratio = contrast(colour, ground);
      if (ratio < 4.5) found.set(`${colour} on ${ground}`, `text has a contrast of ${ratio.toFixed(2)}: ${name(element)}`);
    }
  }
  found.forEach((text, colours) => wrong.push(`${text} (${colours})`));
  return wrong;
}
"""

# What a page of its own has on paper.
ON_PAPER = r"""
() => {
  const wrong = [];
  if (getComputedStyle(document.querySelector('nav')).display !== 'none') wrong.push('the contents are printed');
  for (const details of document.querySelectorAll('details')) {
    const inner = details.querySelector(':scope > :not(summary)');
    if (inner && inner.checkVisibility && !inner.checkVisibility({contentVisibilityAuto: true})) {
      wrong.push('what is folded up is not printed');
      break;
    }
  }
  return wrong;
}
"""


def skip(reason):
    print(f"SKIPPED, NOTHING WAS CHECKED: {reason}", file=sys.stderr)
    sys.exit(NOT_RUN)


def chromium():
    names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if not found:
        skip("no Chromium; install it, or name it in CHROMIUM")
    return found


def make(profile, folder):
    command = ["cargo", "xtask", "report", "--profile", profile, "--out", folder]
    subprocess.run(command, cwd=ROOT, check=True)
    return Path(folder) / "report.html"


def files_beside(page):
    """What Markdown and LaTeX refer to is there."""
    wrong = []
    for name, pattern in [("report.md", r"!\[[^\]]*\]\(([^)]+)\)"), ("report.tex", r"\\includegraphics\[[^\]]*\]\{([^}]+)\}")]:
        path = page.with_name(name)
        if not path.exists():
            wrong.append(f"{name} is missing")
            continue
        text = path.read_text()
        wrong += [f"{name}: {file} is missing" for file in re.findall(pattern, text) if not (page.parent / file).exists()]
        wrong += [f"{name}: nothing of {label}" for label in map(label_of, IDS) if label not in text]
    return wrong


def label_of(name):
    return re.sub(r"^table", "Table ", re.sub(r"^fig", "Figure ", name)) + "."


def look_at(browser, page, screenshots):
    wrong = []
    address = page.resolve().as_uri()
    for size, width in [(PHONE, "phone"), (DESKTOP, "desktop")]:
        for scheme in ["light", "dark"]:
            place = f"{width}, {scheme}"
            context = browser.new_context(viewport=size, color_scheme=scheme, offline=True)
            tab = context.new_page()
            asked = []
            tab.on("request", lambda request: asked.append(request.url))
            tab.on("console", lambda message: wrong.append(f"{place}: console: {message.text}"))
            tab.on("pageerror", lambda error: wrong.append(f"{place}: {error}"))
            tab.goto(address)
            tab.evaluate("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
            wrong += [f"{place}: {line}" for line in tab.evaluate(LOOK, {"ids": IDS})]
            others = [url for url in asked if url != address and not url.startswith("data:")]
            wrong += [f"{place}: the page asked for {url}" for url in others]
            if screenshots:
                tab.reload()
                tab.screenshot(path=screenshots / f"{width}-{scheme}.png", full_page=True)
            context.close()
    tab = browser.new_page(viewport=DESKTOP, color_scheme="dark")
    tab.goto(address)
    tab.emulate_media(media="print")
    wrong += [f"print: {line}" for line in tab.evaluate(ON_PAPER)]
    wrong += [f"print: {line}" for line in tab.evaluate(LOOK, {"ids": IDS}) if "contrast" in line]
    if screenshots:
        tab.pdf(path=screenshots / "print.pdf", prefer_css_page_size=True)
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", choices=["quick", "paper"], default="paper")
    parser.add_argument("--page", type=Path)
    parser.add_argument("--screenshots", type=Path)
    arguments = parser.parse_args()
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        skip("no package playwright; pip install playwright")
    program = chromium()
    if arguments.screenshots:
        arguments.screenshots.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page = arguments.page or make(arguments.profile, folder)
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        wrong = look_at(browser, page, arguments.screenshots) + files_beside(page)
        browser.close()
    for line in wrong:
        print(line)
    print(f"report in the browser: {len(IDS)} tables and figures, {len(wrong)} faults")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
