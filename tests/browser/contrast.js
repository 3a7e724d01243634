// Returns the texts in an element with a contrast below 4.5 to 1 (WCAG 2.2), and its controls smaller than 24 pixels.
// Disabled and hidden elements are ignored.
(root) => {
    const numbers = (colour) => {
        const canvas = document.createElement("canvas");
        canvas.width = canvas.height = 1;
        const context = canvas.getContext("2d");
        context.fillStyle = colour;
        context.fillRect(0, 0, 1, 1);
        const [red, green, blue, alpha] = context.getImageData(0, 0, 1, 1).data;
        return [red, green, blue, alpha / 255];
    };
    const over = (front, back) => [0, 1, 2].map((at) => front[at] * front[3] + back[at] * (1 - front[3])).concat(1);
    const background = (node) => {
        const layers = [];
        for (let each = node; each; each = each.parentElement) {
            const layer = numbers(getComputedStyle(each).backgroundColor);
            if (layer[3] > 0) layers.push(layer);
            if (layer[3] === 1) break;
        }
        return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255, 1]);
    };
    const luminance = (colour) => {
        const [red, green, blue] = colour.slice(0, 3).map((part) => {
            const share = part / 255;
            return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const contrast = (one, other) => {
        const [high, low] = [luminance(one), luminance(other)].sort((left, right) => right - left);
        return (high + 0.05) / (low + 0.05);
    };
    const isVisible = (node) => node.checkVisibility({ visibilityProperty: true, opacityProperty: true });
    const lowContrast = [];
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    let texts = 0;
    while (walker.nextNode()) {
        const node = walker.currentNode.parentElement;
        const text = walker.currentNode.textContent.trim();
        if (!text || !isVisible(node) || node.closest("title, option, :disabled")) continue;
        texts += 1;
        const back = background(node);
        const ratio = contrast(over(numbers(getComputedStyle(node).color), back), back);
        if (ratio < 4.5) lowContrast.push(`${text.slice(0, 30)}: ${ratio.toFixed(2)}`);
    }
    const small = [...root.querySelectorAll("button, select, input:not([type=checkbox])")]
        .filter(isVisible)
        .map((node) => [node, node.getBoundingClientRect()])
        .filter(([, box]) => box.width < 24 || box.height < 24)
        .map(([node, box]) => `${node.textContent || node.placeholder}: ${box.width} by ${box.height}`);
    return { texts, lowContrast, small };
};
