// The parts of ECharts that report.js uses; esbuild drops the rest.
import {init, use} from 'echarts/core';
import {BarChart, CustomChart, LineChart} from 'echarts/charts';
import {AriaComponent, GridComponent, LegendComponent, MarkLineComponent, TooltipComponent} from 'echarts/components';
import {SVGRenderer} from 'echarts/renderers';

use([BarChart, CustomChart, LineChart, AriaComponent, GridComponent, LegendComponent, MarkLineComponent, TooltipComponent, SVGRenderer]);

export {init};
