// Returns name of the element that has the focus, whether it has an outline, and whether no ancestor hides a part of that.
() => {
    const node = document.activeElement;
    const style = getComputedStyle(node);
    const outlined = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
    const reach = parseFloat(style.outlineOffset) + parseFloat(style.outlineWidth);
    const box = node.getBoundingClientRect();
    let whole = true;
    for (let each = node.parentElement; each && !each.classList.contains("qc-dash"); each = each.parentElement) {
        if (getComputedStyle(each).overflow === "visible") continue;
        const outer = each.getBoundingClientRect();
        whole &&= box.left - reach >= outer.left && box.right + reach <= outer.right;
        whole &&= box.top - reach >= outer.top && box.bottom + reach <= outer.bottom;
    }
    const name = node.getAttribute("aria-label") || node.labels?.[0]?.textContent || node.textContent.trim().slice(0, 30) || node.placeholder || node.type;
    return [name, outlined, whole];
};
