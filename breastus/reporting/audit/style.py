"""The rules that an audit's page adds to the common ones of `breastus.utils.html`."""

CSS = """
main { max-width: 70rem; }
h3 { font-size: 1rem; margin: 1.6rem 0 .5rem; }
h2 { scroll-margin-top: 1rem; }
section > p { max-width: 46rem; }
nav { display: flex; flex-wrap: wrap; gap: .4rem .5rem; margin: 1.4rem 0 0; }
nav a, summary { color: var(--accent); text-decoration: none; }
nav a { border: 1px solid var(--line); border-radius: 1rem; padding: .15rem .8rem;
  font-size: .88rem; }
nav a:hover, summary:hover { text-decoration: underline; }
.verdicts { list-style: none; padding: 0; margin: 1.2rem 0; }
.verdicts li { display: grid; grid-template-columns: 6.2rem 1fr; gap: .2rem .8rem;
  padding: .45rem 0 .45rem .8rem; border-left: 4px solid; border-bottom: 1px solid var(--line); }
.verdicts li b { font-size: .9rem; }
.verdicts li span { color: var(--ink); }
.alarm { color: var(--alarm); } .warning { color: var(--warning); } .good { color: var(--good); }
.badge { display: inline-block; border: 1px solid currentColor; border-radius: .7rem;
  padding: 0 .5rem; font-size: .78rem; line-height: 1.35; white-space: nowrap; }
.badge.plain { color: var(--soft); }
td, th { padding-left: .4rem; } td:first-child, th:first-child { padding-left: 0; }
th { vertical-align: bottom; } td.number { white-space: nowrap; }
.cards { display: grid; gap: 1.1rem;
  grid-template-columns: repeat(auto-fill, minmax(min(21rem, 100%), 1fr)); }
.card { border: 1px solid var(--line); border-radius: 8px; padding: .7rem .8rem .8rem;
  break-inside: avoid; min-width: 0; }
.card.some { grid-column: span 2; } .card.many { grid-column: 1 / -1; }
.card p { margin: 0 0 .5rem; font-size: .86rem; color: var(--soft); display: flex;
  flex-wrap: wrap; gap: .3rem .5rem; align-items: center; }
.grid > div { min-width: 0; } .grid h3 { margin-top: .8rem; }
.strip { display: grid; grid-template-columns: repeat(2, 1fr); gap: .6rem; }
.card.some .strip { grid-template-columns: repeat(4, 1fr); }
.card.many .strip, .strip.loose { grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); }
.strip img, .nothing { width: 100%; height: 9rem; object-fit: contain; background: #000;
  border-radius: 4px; }
.nothing { display: grid; place-items: center; color: #a0a9b6; font-size: .85rem; }
.strip figcaption { font-size: .8rem; line-height: 1.4; margin-top: .3rem;
  overflow-wrap: anywhere; }
.strip figcaption b { color: var(--ink); font-weight: 600; }
details { margin: 1rem 0; } summary { cursor: pointer; margin-bottom: .8rem; }
.drawing figcaption { font-weight: 600; color: var(--ink); margin-bottom: .4rem; }
.drawing svg { width: 100%; height: auto; display: block; font-size: 12px; overflow: visible; }
.strip-line { width: 100%; min-width: 7rem; height: 1.1rem; display: block; }
.ids { font-size: .85rem; color: var(--soft); overflow-wrap: anywhere; }
td:first-child { min-width: 8rem; }
@media (max-width: 47rem) { .card.some { grid-column: auto; }
  .card.some .strip { grid-template-columns: repeat(2, 1fr); } }
@media (max-width: 40rem) { table { font-size: .9rem; } .verdicts li { grid-template-columns: 1fr; }
  .strip img, .nothing { height: 7.5rem; } }
"""
