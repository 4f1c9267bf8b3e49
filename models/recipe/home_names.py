"""Names to fill the home's sentence templates with: devices by domain, areas, floors, people, things on lists.

Devices are made of a place or an attribute and a kind; the names of the data's own test homes are taken out of them
by ha.py, as tests are never trained on.
"""

AREAS = {
    "en": """kitchen|living room|bedroom|bathroom|office|garage|hallway|dining room|basement|attic|nursery|guest room|laundry room
        |garden|patio|balcony|porch|entryway|entrance|master bedroom|kids room|playroom|study|library|den|conservatory|utility room
        |pantry|mudroom|sunroom|workshop|shed|greenhouse|driveway|front yard|backyard|back yard|gym|home theater|media room|game room
        |wine cellar|cellar|closet|walk-in closet|loft|lounge|family room|foyer|stairs|staircase|landing|spare room|music room|studio
        |pool|pool house|sauna|terrace|deck|veranda|outside|barn|boiler room|server room|powder room|ensuite|upstairs bathroom
        |downstairs toilet|toilet|tom's room|emma's room|parents' room|girls' bedroom|craft room|breakfast nook|bar|carport""",
    "zh-CN": """客厅|厨房|卧室|主卧|次卧|书房|餐厅|浴室|卫生间|洗手间|厕所|阳台|走廊|过道|玄关|入口|门口|车库|地下室|阁楼|儿童房|婴儿房|客房|办公室
        |衣帽间|储物间|储藏室|洗衣房|花园|院子|前院|后院|露台|楼梯间|影音室|健身房|游戏室|茶室|工作室|保姆房|老人房|大厅|门厅|起居室|主卫|次卫
        |南阳台|北阳台|小明的房间|爸妈房间|杂物间|酒窖|泳池|温室|工具房|会议室|休息室|琴房|娱乐室""",
}

FLOORS = {
    "en": """first floor|second floor|third floor|ground floor|top floor|main floor|lower floor|upper floor|fourth floor|upstairs
        |downstairs|basement|attic|lower level|upper level|main level|mezzanine|cellar|loft|penthouse""",
    "zh-CN": "一楼|二楼|三楼|四楼|五楼|一层|二层|三层|顶楼|底楼|楼上|楼下|地下一层|负一楼|地下室|阁楼|底层|顶层|夹层",
}

# Before a kind of device.
ATTRIBUTES = {
    "en": """left|right|front|back|main|small|big|old|new|upper|lower|corner|ceiling|wall|window|desk|bedside|reading|night|floor
        |table|outdoor|indoor|side|north|south|east|west|tall|smart|kids|guest|tom's|emma's|dad's|mum's|sofa|door|mirror|shelf|counter
        |island|sink|tv|fireplace|christmas|party|work|piano|aquarium|color|strip|spare|coffee|garden""",
    "zh-CN": "左边|右边|前面|后面|左侧|右侧|小|大|新|旧|床头|吸顶|窗边|门口|墙壁|落地|书桌|沙发|电视|南边|北边|智能|小米|米家|华为|美的|格力|海尔|飞利浦",
}

# Kinds of devices by domain: "X" stands alone; "~X" takes a place or an attribute before it.
DEVICES = {
    "en": {
        "light": """~light|~lights|~lamp|~lamps|~spotlights|~ceiling light|~floor lamp|~chandelier|~led strip|~bulb|~sconces|~pendant
            |~downlights|~night light|~fairy lights|~string lights|~floodlight|~accent light|~wall light|~cabinets|~track|~counter
            |moon lamp|lava lamp|nightstand|reading corner|chandelier|christmas tree|hue go|nanoleaf|lightstrip|vanity|bookshelf
            |stair lights|globe|salt lamp|bed light|cove lighting""",
        "switch": """~switch|~outlet|~plug|~socket|~power strip|coffee maker|kettle|water heater|irrigation|pool pump|fountain|sprinkler
            |espresso machine|toaster|air purifier|humidifier|dehumidifier|towel warmer|heat lamp|bed warmer|3d printer|router|doorbell
            |electric blanket|iron|dishwasher|washing machine|dryer|oven|rice cooker|slow cooker|boiler|fish tank|charger|ev charger""",
        "fan": "~fan|~ceiling fan|~exhaust fan|~tower fan|~ventilator|~extractor|ventilation|range hood|box fan|desk fan|whole house fan",
        "media_player": """~tv|~speaker|~speakers|~stereo|~radio|~soundbar|~receiver|~television|~projector|apple tv|chromecast|sonos
            |homepod|roku|shield|echo dot|nest hub|record player|turntable|jukebox|boombox|playstation|xbox|~music player|subwoofer|hi-fi""",
        "cover": """~blinds|~blind|~curtain|~curtains|~shade|~shades|~shutter|~shutters|~drapes|~roller blind|~awning|~garage door|~gate
            |~window|~door|~skylight|garage door|front gate|sliding gate|sunshade|pergola roof|screen|canopy|velux|patio door|barn door""",
        "lock": "~lock|~door|~door lock|~gate|~deadbolt|~padlock|front door|back door|cellar door|smart lock|safe|mailbox|side gate|gate lock",
        "valve": "~valve|~tap|~water valve|~faucet|gas valve|main water valve|sprinkler valve|shutoff valve|irrigation valve|hose|hydrant",
        "climate": "~thermostat|~heater|~radiator|~air conditioner|~ac|~heating|hvac|heat pump|nest|ecobee|underfloor heating|mini split|tado",
        "sensor": """~temperature|~humidity|~power usage|~battery|~air quality|~co2 level|~light level|~pressure|~energy consumption
            |outdoor temperature|wind speed|rain gauge|uv index|solar production|grid consumption|phone battery|water level|water usage
            |gas meter|electricity price|pm2.5|noise level|next alarm|garbage collection|step count|internet speed|pool temperature
            |car range|printer ink|freezer temperature|soil moisture|pollen count|tank level|daily energy""",
        "binary_sensor": """~door|~window|~motion sensor|~occupancy|~presence sensor|~leak sensor|~smoke detector|~contact|mailbox|cat flap
            |dog door|fridge|freezer door|letterbox|motion|doorbell button|water leak|~gate|~hatch|shed|safe|~cupboard|~drawer""",
        "input_boolean": """vacation mode|guest mode|night mode|away mode|sleep mode|holiday mode|movie mode|quiet hours|do not disturb
            |school day|automatic lighting|alarm clock|work mode|babysitter mode|summer mode|privacy mode""",
        "scene": """movie night|good night|good morning|romantic|bright|dinner|relax|reading|focus|sunset|party time|bedtime|cozy|tv time
            |wake up|chill|candlelight|rainy day|gaming|cleaning|christmas|yoga|cinema|energize|tropical|nightlight|leaving home""",
        "script": """bedtime routine|morning routine|goodbye|welcome home|start the day|close everything|water the plants|feed the fish
            |alarm test|restart router|warm up the car|coffee time|panic|laundry reminder|reset lights|flash the lights|arrive home
            |vacation lights|open house|wind down|backup""",
        "todo": "chores|groceries|to do|todo|packing|homework|wishlist|errands|hardware store|weekend|work tasks|gift ideas|cleaning|costco|ikea|movies to watch|party|camping|garden jobs|repairs|pharmacy",
        "vacuum": "~vacuum|~robot|roomba|roborock|robot vacuum|dusty|robo|hoover|rosie|braava|dreame|sweeper|wall-e|eufy|neato",
        "lawn_mower": "mower|automower|lawn robot|shaun|grass cutter|robomow|landroid|~mower|meadow|worx",
        "person": """anna|ben|charlie|david|emily|frank|grace|henry|isabel|jack|kate|lucas|maria|noah|olivia|peter|quinn|rachel|sam|tina
            |victor|wendy|zoe|mom|dad|grandma|grandpa|alex|chris|daniel|elena|fatima|george|hannah|ivan|julia|kevin|laura|mike|nina|oscar
            |paul|rosa|steve|thomas|uma|li wei|yuki|priya|mohammed|aisha""",
        "weather": "home|paris|london|berlin|new york|tokyo|amsterdam|seattle|the cabin|the beach|chicago|sydney|madrid|oslo|toronto|boston|the lake house|denver|rome",
    },
    "zh-CN": {
        "light": "~灯|~台灯|~吸顶灯|~落地灯|~夜灯|~吊灯|~灯带|~壁灯|~射灯|~筒灯|~氛围灯|~灯泡|~镜前灯|床头灯|夜灯|彩灯|水晶灯|月球灯|感应灯|阅读灯|圣诞树|走廊灯|鱼缸灯|橱柜灯|护眼灯",
        "switch": "~开关|~插座|~排插|热水器|咖啡机|饮水机|加湿器|除湿机|空气净化器|电饭煲|洗衣机|烘干机|洗碗机|鱼缸|路由器|热水壶|充电桩|水泵|电热毯|烤箱|浴霸|打印机|喷泉|暖风机|投影幕布",
        "fan": "~风扇|~电扇|~吊扇|落地扇|排气扇|换气扇|新风机|循环扇|塔扇|抽油烟机|台扇",
        "media_player": "~电视|~音箱|~音响|~投影仪|~电视机|小爱同学|小度|天猫精灵|回音壁|收音机|机顶盒|播放器|唱片机|家庭影院|功放|电视盒子|低音炮",
        "cover": "~窗帘|~卷帘|~百叶窗|~纱帘|~遮阳帘|~窗户|~卷帘门|~推拉门|车库卷帘|电动窗帘|晾衣架|遮阳棚|院门|落地窗|罗马帘|投影幕",
        "lock": "~门|~门锁|~大门|智能锁|防盗门|入户门|后门|侧门|保险柜|院子门|密码锁|地下室门",
        "valve": "~阀门|~水阀|水龙头|燃气阀|总水阀|喷灌阀|暖气阀|花园水阀|浇水阀",
        "climate": "~空调|~暖气|~恒温器|~地暖|温控器|中央空调|热泵|壁挂炉|暖气片|油汀",
        "sensor": "~温度|~湿度|~电量|~功率|~空气质量|~光照|~气压|室外湿度|用电量|今日用电|水位|水温|甲醛浓度|二氧化碳|风速|噪音|电费余额|手机电量|土壤湿度|紫外线指数|冰箱温度|网速|步数",
        "binary_sensor": "~门窗传感器|~人体传感器|~窗户|~门|~烟雾报警器|~水浸传感器|门磁|人体感应|冰箱门|信箱|烟感|猫门|柜门|存在传感器|抽屉",
        "input_boolean": "离家模式|睡眠模式|访客模式|度假模式|勿扰模式|夜间模式|工作模式|观影模式|自动灯光|老人模式|省电模式|起床闹钟",
        "scene": "回家|离家|观影|睡觉|起床|晚餐|阅读|聚会|浪漫|放松|明亮|日落|专注|游戏时间|晚安|早安|看电视|会客|烛光晚餐|瑜伽",
        "script": "早安流程|晚安流程|浇花|喂鱼|重启路由器|出门准备|全屋关灯|欢迎回家|闪灯|热车|起床流程|备份|通风|假期灯光",
        "todo": "待办|任务清单|家务清单|工作清单|旅行清单|心愿单|作业|学习计划|周末计划|装修清单|采购计划|礼物清单|电影清单|家务|打包清单",
        "vacuum": "扫地机|~扫地机器人|小白|科沃斯|追觅|米家扫地机|云鲸|扫拖机器人|机器人管家|小黑|阿强|~扫地机",
        "lawn_mower": "割草机|小绿|割草机器人|草坪机器人|阿牛|九号割草机|剪草机|小羊",
        "person": "李四|王五|赵六|小明|小红|小李|爸爸|妈妈|爷爷|奶奶|弟弟|妹妹|姐姐|哥哥|刘洋|陈静|杨帆|周杰|吴磊|孙丽|老王|外婆|丽丽|强强|欣怡",
        "weather": "家|北京|上海|广州|深圳|成都|杭州|武汉|西安|公司|老家|南京|重庆|厦门|天津|苏州|青岛",
    },
}

# What stands in lists whose entries are free text.
FREE = {
    "en": {
        "timer_name": """pasta|egg|eggs|tea|coffee|laundry|bread|cookies|chicken|rice|oven|homework|workout|nap|bath|cake|steak|soup|potatoes
            |meditation|study|break|parking|dishwasher|pomodoro|noodles|turkey|yoga|plank|kids|tv time|medicine|garden|lasagna|roast|brownies
            |sauna|dough|barbecue|reading|piano practice""",
        "shopping_list_item": """milk|eggs|bread|butter|bananas|oranges|toilet paper|coffee|tea bags|dish soap|olive oil|chicken breast|rice|pasta
            |tomatoes|onions|cheese|yogurt|cereal|orange juice|paper towels|cat food|dog food|batteries|light bulbs|shampoo|toothpaste|salt
            |sugar|flour|potatoes|lettuce|carrots|beer|red wine|ground beef|peanut butter|honey|ice cream|frozen peas|garlic|two lemons
            |a dozen eggs|three cans of tuna|some avocados|diapers|baking powder|oat milk|cream cheese|salsa|tortillas|sparkling water
            |laundry detergent|trash bags|birthday candles|macaroni and cheese|salt and pepper|a bag of chips|strawberries|whole wheat bread""",
        "todo_list_item": """call the dentist|walk the dog|water the plants|pay the rent|mow the lawn|clean the bathroom|buy a present|do the dishes
            |finish the report|pick up the kids|book the flights|fix the fence|return the library books|renew the passport|change the filter
            |wash the car|vacuum the stairs|feed the cat|email the teacher|pack sunscreen|passport|tent|sleeping bags|fold the laundry|iron shirts
            |schedule an oil change|write thank you notes|organize the closet|practice guitar|order firewood|call grandma|study for the exam
            |clean the gutters|paint the shed|drill bits|new hammer|change the sheets|send the invoice|back up the laptop""",
        "message": """lunch is ready|we are leaving in five minutes|time for bed|the movie is starting|please come downstairs|i am home|breakfast is served
            |the pizza is here|time to do homework|somebody is at the door|the washing machine is done|turn down the music|good morning everyone
            |it is time for school|i am going out|the bus comes in ten minutes|happy birthday|put your shoes on|your taxi is outside|guests have arrived
            |dad is on the phone|we need to talk|the cat escaped|who took my keys|the game is on|supper is on the table|lights out in ten minutes""",
        "search_query": """taylor swift|the beatles|jazz|classical music|abbey road|thriller|hotel california|imagine|bad guy|rolling in the deep
            |kind of blue|queen|coldplay|daft punk|miles davis|beethoven|chill vibes|workout mix|rock classics|lo-fi beats|the daily|serial
            |radiolab|this american life|the matrix|inception|casablanca|toy story|finding nemo|the godfather|friends|stranger things|the crown
            |game of thrones|seinfeld|planet earth|blinding lights|smooth criminal|nirvana|billie eilish|bach|relaxing piano|dinner jazz|disney hits
            |rumours|dark side of the moon|ed sheeran|led zeppelin|country roads|let it be|purple rain|some music|white noise|rain sounds|the news
            |my favorites|morning acoustic|summer hits|ella fitzgerald|vivaldi|hamilton|moana|the wire|peppa pig|bluey|dancing queen""",
        "zone": "home|work|school|office|gym|the gym|kindergarten|university|church|supermarket|the store|kitchen|garage|bedroom|grandma's house|living room|away|daycare|hospital|soccer practice|the park|library|bathroom",
    },
    "zh-CN": {
        "timer_name": "面条|煮蛋|泡茶|洗衣|烤箱|蛋糕|午睡|作业|健身|煲汤|米饭|炖肉|咖啡|泡脚|学习|面包|饺子|鸡汤|瑜伽|敷面膜|吃药|煎药|休息|练琴|炖汤",
        "shopping_list_item": "牛奶|鸡蛋|面包|香蕉|大米|酱油|盐|白菜|土豆|西红柿|牛肉|鸡翅|卫生纸|洗衣液|牙膏|洗发水|猫粮|狗粮|电池|灯泡|咖啡|茶叶|酸奶|橙子|葡萄|面粉|食用油|醋|啤酒|纸巾|洗洁精|豆腐|排骨|两斤苹果|三瓶可乐|一袋大米|巧克力|饼干|矿泉水|黄瓜|垃圾袋",
        "todo_list_item": "交房租|遛狗|浇花|洗车|打扫卫生间|买礼物|洗碗|写报告|接孩子|订机票|还书|换滤芯|交电费|预约牙医|给妈妈打电话|寄快递|修水管|整理衣柜|复习考试|取快递|带护照|倒垃圾|拖地|擦窗户|缴物业费|体检|写作业|买菜|打疫苗",
        "message": "饭做好了|该睡觉了|电影要开始了|请下楼|我回来了|早餐好了|快递到了|该写作业了|有人敲门|衣服洗好了|五分钟后出发|大家早上好|该上学了|客人到了|下来吃水果|车在楼下了|生日快乐|把音乐关小一点|准备出门|开会了|记得关灯|水开了|晚饭好了",
        "search_query": "周杰伦|邓丽君|古典音乐|轻音乐|稻香|青花瓷|五月天|儿歌|新闻|相声|钢琴曲|王菲|成都|平凡之路",
        "zone": "家|公司|学校|办公室|健身房|幼儿园|超市|医院|公园|图书馆|厨房|客厅|卧室|外婆家|车库|单位|大学",
    },
}

# A prefix or suffix that says nothing, in front of or behind a request.
POLITE = {
    "en": (["please ", "can you ", "could you ", "would you ", "can you please ", "i'd like to ", "i want to ", "hey ", "ok ",
            "could you please "], [" please", " for me", " now", " thanks", " for me please"]),
    "zh-CN": (["请", "请问", "麻烦", "麻烦你", "帮我", "请帮我", "给我"], ["谢谢", "吧", "好吗"]),
}


def words(text):
    """The entries of a list above."""
    return [" ".join(entry.split()) for entry in text.split("|")]


def device_names(language, domain):
    """Every name of a domain's devices."""
    joint = " " if language == "en" else ""
    before = words(AREAS[language]) + words(ATTRIBUTES[language])
    names = []
    for kind in words(DEVICES[language][domain]):
        if kind.startswith("~"):
            last = kind[1:].split(joint)[-1] if joint else kind[1:]
            names += [first + joint + kind[1:] for first in before if first != last]
        else:
            names.append(kind)
    return names
